"""What failed in workers and trials, and whether it would come again. Errors of this package come out as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import ray
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision

from multinas_ray import errors
from multinas_ray.errors import MultiNASError, StorageError, last_line

LOWER_MEMORY = (
    "lower batch_size, validation_batch_size or num_workers, use smaller images or in_memory=False, or larger machines"
)
"""What helps where a process takes too much memory."""

_OWN = re.compile(rf"^(?:\S*\s)?{re.escape(errors.__name__)}\.(\w+): (.+)$", re.MULTILINE)
"""An error of this package in the text of an error of Ray."""
_MEMORY = re.compile(r"OutOfMemory|out of memory|memory pressure|low on memory|\bOOM\b", re.IGNORECASE)
_GUESSES = re.compile(r"Some common causes include:.*", re.DOTALL)
"""What Ray says of every process that ends without a word, whatever ended it: lack of memory is one of its guesses."""
_INNER = ("worker_failures", "health_check_failure", "controller_failure", "_base_exc", "cause", "__cause__")
"""Where errors of Ray keep what caused them."""


def own_error(error: BaseException) -> MultiNASError | None:
    """The error of this package that is within an error of Ray; None if there is none."""
    found = list(_within(error))
    for each in found:
        if isinstance(each, MultiNASError) and not isinstance(each, ray.exceptions.RayError):
            return each
    for each in found:
        for name, text in reversed(_OWN.findall(str(each))):
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, MultiNASError):
                made: MultiNASError = kind(text)
                return made
    return None


def would_come_again(error: BaseException) -> bool:
    """Whether an error is of settings, data or states, so that a new try would end the same.

    A disk or an object store may answer the next time.
    """
    own = own_error(error)
    return own is not None and not isinstance(own, StorageError)


def cause_of(error: BaseException) -> str:
    """The cause of an error of Ray in one line, with what to lower if memory was short."""
    found = list(_within(error))
    if any(
        isinstance(each, MemoryError) or _MEMORY.search(_GUESSES.sub("", f"{type(each).__name__} {each}"))
        for each in found
    ):
        return f"a process was ended for lack of memory ({LOWER_MEMORY})"
    if any(isinstance(each, ray.exceptions.RayActorError) for each in found):
        return "a process was ended from outside, or its node is gone"
    last = found[-1]
    text = last_line(last)
    return text if isinstance(last, ray.exceptions.RayError) else f"{type(last).__name__}: {text}"


def _within(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it, from the outside to the inside."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        for name in _INNER:
            inner = getattr(each, name, None)
            waiting += inner.values() if isinstance(inner, dict) else [inner]


class LastingErrorsEnd(DefaultFailurePolicy):
    """Ray Train's policy of failures, but for errors that would come again: they end the workers at once."""

    def make_decision(self, training_failed_error: Any) -> FailureDecision:
        """Whether the worker group is started again."""
        if would_come_again(training_failed_error):
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)
