"""A latency table of the device, against whole networks."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from experiments.gpu_check.bench import Bench
from experiments.gpu_check.findings import Finding
from multinas_ray.latency import ProfileSettings, profile_space, validate_table
from multinas_ray.spaces import FloatArray


def latency(bench: Bench) -> Finding:
    """Predicted and measured latencies with one image, and what they go with.

    If the number of blocks that are no skips explains the measured times better than the multiply-adds do, the calls of
    kernels decide, and a table for larger batches or for CUDA graphs is needed.
    """
    settings = ProfileSettings(
        batch_size=1,
        device="cuda" if bench.has_gpu else "cpu",
        least_passes=2,
        most_passes=2 if bench.tiny else 40,
        max_seconds=1.0 if bench.tiny else 20.0,
    )
    table = profile_space(bench.space, settings)
    checked = validate_table(table, bench.space, settings, num_networks=3 if bench.tiny else 20)
    measured_N, flops_N = checked.measured_ms, bench.space.costs["flops"](checked.architectures)
    blocks_N = np.array([sum(each not in ("skip", "identity") for each in text.split()) for text in checked.readable])
    found = Finding(
        {
            "rows": len(table.rows),
            "kendall's tau": checked.kendall_tau,
            "mean relative error": checked.mean_relative_error,
            "verdict": checked.verdict,
            "correlation with blocks": _correlation(blocks_N, measured_N),
            "correlation with multiply-adds": _correlation(flops_N, measured_N),
            "measured_ms": [float(measured_N.min()), float(measured_N.max())],
        }
    )
    if bench.has_gpu:
        graphed = dataclasses.replace(settings, backend="cuda_graphs")
        by_graphs = validate_table(profile_space(bench.space, graphed), bench.space, graphed, num_networks=20)
        found.figures["by CUDA graphs"] = {
            "kendall's tau": by_graphs.kendall_tau,
            "bias": by_graphs.bias,
            "verdict": by_graphs.verdict,
            "gain": float(np.median(measured_N)) / float(np.median(by_graphs.measured_ms)),
        }
        found.check(by_graphs.verdict != "poor", "the table of CUDA graphs predicts networks poorly")
    found.check(bench.tiny or checked.verdict != "poor", "the table predicts networks poorly")
    return found


def _correlation(first_N: NDArray[np.int64] | FloatArray, second_N: FloatArray) -> float | None:
    """Pearson's coefficient; None if all values of one side are equal."""
    if not np.std(first_N) or not np.std(second_N):
        return None
    return float(np.corrcoef(first_N, second_N)[0, 1])
