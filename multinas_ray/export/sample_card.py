"""The parts of a model card that are about samples which are no images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from multinas_ray.export.formats import ONNX_FILE, OPSET, PT2_FILE, SAFETENSORS_FILE

_PT2 = """import torch

module = torch.export.load("model.pt2").module()
with torch.no_grad():
    outputs = module({arguments})
"""

_ONNX = """import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
outputs = session.run(None, {{{feed}}})
"""


NO_PROGRAM = "There is no program, since torch.export cannot trace the network: its own code computes with the weights."


def is_of_samples(description: Mapping[str, Any]) -> bool:
    """Whether the network takes something else than images."""
    return "structure" in description["input"]


def told_structure(structure: Any) -> str:
    """A structure as code."""
    return f"`{structure if isinstance(structure, str) else json.dumps(structure)}`"


def summary(description: Mapping[str, Any]) -> str:
    """The first sentence."""
    taken, given = told_structure(description["input"]["structure"]), told_structure(description["output"]["structure"])
    return f"This network takes samples {taken} and gives {given}; its loss is `{description['task']['loss']}`. It "


def maps(programs: Sequence[str]) -> str:
    """Subject and verb of a sentence that says what the programs compute; where there are none, the network does."""
    if not programs:
        return f"{NO_PROGRAM} The network maps"
    return f"{' and '.join(f'`{name}`' for name in programs)} {'map' if len(programs) > 1 else 'maps'}"


def contract(description: Mapping[str, Any], programs: Sequence[str]) -> str:
    """What the files take and give."""
    computes = " The programs compute in float32 on the CPU." if programs else ""
    return (
        f"{maps(programs)} a batch of samples {told_structure(description['input']['structure'])} to a batch of "
        f"{told_structure(description['output']['structure'])}; each tensor has the samples as a further first axis, "
        "any number of them. Inputs are given as the dataset of the training gave them, since no normalisation is part "
        f"of the files.{computes}\n\n`{SAFETENSORS_FILE}` holds the weights of the network."
    )


def loading(description: Mapping[str, Any], programs: Sequence[str]) -> list[str]:
    """How to run the files without this package."""
    names = names_of(description["input"]["structure"])
    is_named = isinstance(description["input"]["structure"], Mapping)
    arguments = ", ".join(f"{name}={name}" if is_named else name for name in names)
    parts = ["Nothing here needs multinas-ray, unless it says so."]
    if PT2_FILE in programs:
        parts += [f"To run `{PT2_FILE}` with PyTorch:", _code(_PT2.format(arguments=arguments))]
    if ONNX_FILE in programs:
        feed = ", ".join(f'"{name}": {name}.numpy()' for name in names)
        parts += [
            f"To run `{ONNX_FILE}` (operator set {OPSET}) with ONNX Runtime:",
            _code(_ONNX.format(feed=feed)),
        ]
    return parts


def names_of(structure: Any) -> Sequence[str]:
    """The names of the tensors in ONNX files, as `formats.input_names` gives them."""
    if isinstance(structure, str):
        return ["inputs"]
    if isinstance(structure, Mapping) and all(isinstance(each, str) for each in structure.values()):
        return list(structure)
    count = len(_leaves(structure))
    return [f"input{number}" for number in range(count)]


def samples(description: Mapping[str, Any]) -> str:
    """Which samples were used."""
    data, number = description["data"], description["data"]["num_images"]
    return (
        f"The samples are those of `{data['source']}`: {number['train']:,} for training, {number['validation']:,} for "
        f"validation and {number['test']:,} for the test. The validation samples were used to compare architectures, "
        "the test samples only at the end."
    )


def _leaves(structure: Any) -> list[str]:
    if isinstance(structure, str):
        return [structure]
    parts = structure.values() if isinstance(structure, Mapping) else structure
    return [leaf for part in parts for leaf in _leaves(part)]


def _code(text: str) -> str:
    return f"```python\n{text.strip()}\n```"
