from .checking import checked, checked_arguments
from .marks import (
    AsGiven,
    Flag,
    Fraction,
    InfinityAllowed,
    Measured,
    NonNegativeFloat,
    NonNegativeInt,
    OneOf,
    PositiveFloat,
    PositiveInt,
    ReadBy,
    Unchecked,
)
from .plain import changed, is_settings, made, nested_settings, to_plain

__all__ = [
    "AsGiven",
    "Flag",
    "Fraction",
    "InfinityAllowed",
    "Measured",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OneOf",
    "PositiveFloat",
    "PositiveInt",
    "ReadBy",
    "Unchecked",
    "changed",
    "checked",
    "checked_arguments",
    "is_settings",
    "made",
    "nested_settings",
    "to_plain",
]
