from .checking import checked, checked_arguments
from .marks import (
    Flag,
    Fraction,
    InfinityAllowed,
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
    "Flag",
    "Fraction",
    "InfinityAllowed",
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
