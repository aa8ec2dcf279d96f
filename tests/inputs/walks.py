"""Every public name with every value that does not fit, or is absurd."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.inputs.answers import RETURNED, SILENT, Answer, answer
from tests.inputs.examples import BY_THEMSELVES
from tests.inputs.public import PublicCall, public_calls
from tests.inputs.values import VALUES, fits

NOT_WALKED = ("runs.RunRecord.config",)
"""Parameters that `write_config` has checked. A remedy is the end of a message."""


@dataclass(frozen=True)
class Input:
    """A value for a parameter of a public name."""

    call: PublicCall
    parameter: str
    value: str

    def __str__(self) -> str:
        return f"{self.call.name}({self.parameter}={self.value})"

    def answer(self) -> Answer:
        """What the call does with it; a value of another type must be refused, by the name of the parameter."""
        value = VALUES[self.value]
        is_wrong = fits(value, self.call.hints[self.parameter]) is False
        names = [self.parameter] if is_wrong and self.call.name not in BY_THEMSELVES else []
        found = answer(lambda: self.call.with_value(self.parameter, value), names)
        if found.kind == RETURNED and is_wrong:
            return Answer(SILENT, repr(found.result)[:200])
        return found


def inputs() -> Iterator[Input]:
    for call in public_calls():
        for parameter in call.hints:
            if parameter != "remedy" and f"{call.name}.{parameter}" not in NOT_WALKED:
                yield from (Input(call, parameter, value) for value in VALUES)
