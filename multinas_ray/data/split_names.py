"""The names by which folders and files say that they hold the training, validation or test images."""

import re
from typing import NamedTuple

_SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "devel"), "validation"),
    **dict.fromkeys(("development", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_FILLERS = frozenset(
    "all classes classification cropped data dataset ds dir files final folder folders frames full image images img "  # noqa: SIM905
    "imgs jpeg jpg labeled labelled my new original part photo photos pic pics picture pictures png raw resized sample "
    "samples seg set sets small split splits subset the".split()
)
"""Words beside a split's word that say nothing [ours]."""
_SPLIT_WORD, _FILLER = ("|".join(sorted(words, key=len, reverse=True)) for words in (_SPLITS, _FILLERS))
_GLUED = re.compile(rf"({_SPLIT_WORD})({_FILLER})|({_FILLER})({_SPLIT_WORD})")
_TOKEN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

KNOWN_SPLIT_NAMES = "train, val, test and their usual spellings"
"""How messages describe the names that are known."""


class SplitName(NamedTuple):
    """What a name says of a split."""

    split: str
    """train, validation or test."""
    rest: str
    """Its other words, such as the name of the images: "birds" in birds_train. Empty if they say nothing."""


def read_split_name(name: str) -> SplitName | None:
    """Return the split that a name such as `train`, `Training`, `seg_train`, `ValData` or `test2017` stands for.

    Returns:
        None if no word of the name, or words of several splits, stand for a split. "train" with "val" is "train", as
        in VOC's `trainval`.
    """
    words = [part for token in _TOKEN.findall(name) for part in _unglued(token.lower())]
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    if splits == {"train", "validation"}:
        splits = {"train"}
    if len(splits) != 1:
        return None
    rest = " ".join(word for word in words if word not in _SPLITS and word not in _FILLERS)
    return SplitName(splits.pop(), rest)


def _unglued(word: str) -> tuple[str, ...]:
    """The parts of words such as trainset and imagestrain; other words as they are."""
    found = None if word in _SPLITS else _GLUED.fullmatch(word)
    return (word,) if found is None else tuple(part for part in found.groups() if part)
