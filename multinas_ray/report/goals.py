"""The goal of a distribution, in words."""

from typing import Any

import numpy as np

from multinas_ray.runs import Run, format_count


def goal_of(run: Run, row: Any) -> tuple[str, str]:
    """The goal that a distribution searches for.

    Args:
        run: The search.
        row: Its row of `distributions_schema`.

    Returns:
        "coefficient" and its value, or "target" and its value in the complexity's own unit.
    """
    if np.isnan(row["target"]):
        return "coefficient", f"{row['coefficient']:.3g}"
    _, scale = run.complexity_cost or ("complexity", 1.0)
    return "target", format_count(row["target"] * scale)
