"""A kind of cost of one's own, which is no sum over the choices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from multinas_ray.spaces import Cost, FloatArray, register_cost


@register_cost
@dataclass(frozen=True, eq=False)
class Unevenness(Cost):
    """Largest less smallest index: neither a sum nor a maximum over the choices."""

    kind: ClassVar[str] = "unevenness"

    name: str
    num_categories: tuple[int, ...]
    unit: str = ""

    def __call__(self, architectures: Any) -> FloatArray:
        spread_N: FloatArray = np.ptp(self.checked(architectures), axis=1).astype(np.float64)
        return spread_N

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def maximum(self) -> float:
        return max(self.num_categories) - 1.0

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "num_categories": list(self.num_categories)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Unevenness":
        return cls(fields["name"], tuple(fields["num_categories"]))
