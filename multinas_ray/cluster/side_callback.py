"""Callbacks of Tune that are side matters, such as those of tracking services."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray import tune

from multinas_ray.cluster.side_matters import SideMatters


class SideCallback(tune.Callback):
    """Passes everything on to another callback. Where that raises, this is told, and it is called no more.

    Args:
        name: what the callback does, such as "following the trainings in MLflow".
        inner: the other callback.
        side: tells failures.
    """

    def __init__(self, name: str, inner: tune.Callback, side: SideMatters) -> None:
        self._name, self._inner, self._side = name, inner, side

    def _pass_on(self, hook: str, *arguments: Any, **info: Any) -> None:
        self._side.do(self._name, partial(getattr(self._inner, hook), *arguments, **info))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing is pickled: Tune pickles callbacks into tuner.pkl, but this one serves its own process only."""
        return {}


def _passing(hook: str) -> Any:
    def method(self: SideCallback, *arguments: Any, **info: Any) -> None:
        self._pass_on(hook, *arguments, **info)

    method.__name__, method.__doc__ = hook, f"Passes {hook} on."
    return method


for _hook in ("setup", *(name for name in vars(tune.Callback) if name.startswith("on_"))):
    setattr(SideCallback, _hook, _passing(_hook))
