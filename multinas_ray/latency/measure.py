"""Measures the blocks of this folder with ONNX Runtime, and writes what they take to a file.

Copy the folder to the device, and run there

    pip install onnxruntime numpy
    python measure.py

Then bring latency.json back: it is a latency table, as --latency-table of a search takes one. Each block is timed in
its place in random networks of its space; then whole networks are timed and compared with the sums of their blocks.
The time of calling a model that does nothing is subtracted from that of each block.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
STEADY, LEAST_TAU, LEAST_REPEAT_TAU = 0.01, 0.9, 0.95
CPU = "CPUExecutionProvider"
CALL_FILE, NUM_CALLS = "call.onnx", 21


def main(argv: list[str] | None = None) -> int:
    """Measure and write; returns 0, or 1 if the blocks predict networks poorly, or 3 if the device is too noisy."""
    options = read_options(argv)
    kit = json.loads((HERE / "kit.json").read_text(encoding="utf-8"))
    has_one_thread = options.threads == 1 and options.provider == CPU
    clock, read_clock = ("cpu", time.thread_time) if has_one_thread else ("wall", time.perf_counter)
    times, whole = measure(kit, options, read_clock)
    conditions = {
        **kit["conditions"],
        "device": device_name(),
        "threads": options.threads if options.provider == CPU else None,
        "clock": clock,
        "runtime": f"onnxruntime {onnxruntime.__version__}, {options.provider}",
        "measured_on": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    }
    result = {"form": kit["form"], "kit": kit["kit"], "conditions": conditions, "rows": rows_of(kit["rows"], times)}
    part = options.output.with_name(options.output.name + ".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(options.output)
    status = tell_verdict(times, whole, kit["networks"])
    print(f"Table: {options.output}")
    return status


def measure(kit: dict[str, Any], options: argparse.Namespace, read_clock: Callable[[], float]) -> tuple[Any, Any]:
    """(P, B) milliseconds of the blocks, and (P, N) of the whole networks."""
    open_model = opener(options.threads, options.provider)
    blocks, networks = ([open_model(each["file"]) for each in kit[name]] for name in ("rows", "networks"))
    call, nothing = open_model(CALL_FILE), np.zeros(1, np.float32)
    print(f"{len(blocks)} blocks and {len(networks)} networks on {device_name()}, {options.provider}")
    rng = np.random.default_rng(0)
    images = rng.standard_normal(kit["input_shape"]).astype(np.float32)
    passes = []
    for number in range(options.warm_up + options.repeats):
        calls = np.median([laps([call], nothing, read_clock)[0] for _ in range(NUM_CALLS)])
        of_blocks = pass_over_blocks(kit["places"], blocks, images, read_clock, rng)
        of_networks = np.zeros(len(networks))
        for index in rng.permutation(len(networks)):
            laps([networks[index]], images, read_clock)
            of_networks[index] = laps([networks[index]], images, read_clock)[0]
        passes.append((of_blocks, of_networks, calls))
        print(f"\rpass {number + 1} of {options.warm_up + options.repeats}", end="", flush=True)
    print()
    block_times, network_times, call_times = (np.array(each) for each in zip(*passes[options.warm_up :]))  # noqa: B905  # Python 3.8
    return 1e3 * without_drift(np.maximum(block_times - np.median(call_times), 0)), 1e3 * network_times


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--repeats", type=int, default=20, help="passes over all blocks (default: 20)")
    parser.add_argument("--warm-up", type=int, default=2, help="passes before them that do not count (default: 2)")
    parser.add_argument("--provider", default=CPU, help=f"execution provider of ONNX Runtime (default: {CPU})")
    parser.add_argument("--output", type=Path, default=HERE / "latency.json", help="file of the table")
    options = parser.parse_args(argv)
    if options.threads < 1 or options.repeats < 2 or options.warm_up < 0:
        parser.error("give at least 1 thread, 2 repeats and 0 passes to warm up")
    if options.provider not in onnxruntime.get_available_providers():
        parser.error(f"--provider must be one of {', '.join(onnxruntime.get_available_providers())}")
    return options


def opener(threads: int, provider: str) -> Callable[[str], Callable[[Any], Any]]:
    """A function that loads a model of this folder as a function of its input."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1

    def open_model(file: str) -> Callable[[Any], Any]:
        session = onnxruntime.InferenceSession(str(HERE / file), settings, providers=[provider])
        (taken,) = session.get_inputs()
        return lambda value: session.run(None, {taken.name: value})[0]

    return open_model


def laps(models: list[Callable[[Any], Any]], value: Any, read_clock: Callable[[], float]) -> list[float]:
    """Seconds of each model of a chain, which gets what the one before gives."""
    marks = [read_clock()]
    for model in models:
        value = model(value)
        marks.append(read_clock())
    return np.diff(marks).tolist()


def pass_over_blocks(
    places: list[list[int]], blocks: list[Callable[[Any], Any]], images: Any, read_clock: Callable[[], float], rng: Any
) -> Any:
    """(B,) seconds of each block: the median over its places in networks that hold every choice of every place."""
    longest = max(len(choices) for choices in places)
    columns = [rng.permutation(np.resize(choices, longest)) for choices in places]
    samples: dict[int, list[float]] = {}
    for network in np.stack(columns, axis=1).tolist():
        chain = [blocks[index] for index in network]
        laps(chain, images, read_clock)
        for _ in range(2):
            for index, seconds in zip(network, laps(chain, images, read_clock)):  # noqa: B905  # Python 3.8
                samples.setdefault(index, []).append(seconds)
    return np.array([np.median(samples[index]) for index in range(len(blocks))])


def without_drift(times: Any) -> Any:
    """(P, B) times without the drift that all blocks of a pass have in common."""
    medians = np.median(times, axis=0)
    takes_time = medians > 0
    ratios = times[:, takes_time] / medians[takes_time]
    return times / np.maximum(np.median(ratios, axis=1, keepdims=True), 1e-9)


def spread_of(times: Any) -> Any:
    """(B,) median absolute deviations, times 1.4826."""
    return 1.4826 * np.median(np.abs(times - np.median(times, axis=0)), axis=0)


def rows_of(rows: list[dict[str, Any]], times: Any) -> list[dict[str, Any]]:
    """The rows of the table."""
    medians, means, spreads = np.median(times, axis=0), times.mean(axis=0), spread_of(times)
    return [
        {
            **{name: row[name] for name in ("block", "description", "input_shape")},
            "median_ms": float(medians[index]),
            "mean_ms": float(means[index]),
            "spread_ms": float(spreads[index]),
            "repeats": len(times),
        }
        for index, row in enumerate(rows)
    ]


def tell_verdict(times: Any, whole: Any, networks: list[dict[str, Any]]) -> int:
    """Print how steady the times are, and how well blocks predict networks; returns the exit status."""
    medians = np.median(times, axis=0)
    error = float((1.2533 * spread_of(times) / len(times) ** 0.5).sum() / medians.sum())
    steady = "steady" if error <= STEADY else "not steady: stop other programs, or give more --repeats"
    print(f"Standard error of the blocks' medians: {error:.2%}, which is {steady}.")
    if len(networks) < 2:
        return 0
    predicted = np.array([medians[each["blocks"]].sum() for each in networks])
    measured, half = np.median(whole, axis=0), len(whole) // 2
    tau = kendall_tau(predicted, measured)
    repeat = kendall_tau(np.median(whole[:half], axis=0), np.median(whole[half:], axis=0))
    bias = float((predicted / measured - 1).mean())
    print(
        f"Kendall's tau {tau:.3f} between predicted and measured latency of {len(networks)} networks, bias {bias:+.1%};"
        f" two measurements of the same networks agree with tau {repeat:.3f}."
    )
    if tau >= LEAST_TAU:
        print("The table predicts networks well.")
        return 0
    if repeat < LEAST_REPEAT_TAU:
        print("This device is too noisy to judge the table: stop other programs, or give more --repeats.")
        return 3
    print("The table predicts networks poorly: here a network's latency is not the sum over its blocks.")
    return 1


def kendall_tau(first: Any, second: Any) -> float:
    """Kendall's tau-b; 0 if all values on one side are equal."""
    ones, others = (np.sign(each[:, None] - each[None, :]) for each in (first, second))
    return float((ones * others).sum() / max(1.0, np.sqrt((ones**2).sum() * (others**2).sum())))


def device_name() -> str:
    """The name of the device or of its processor."""
    for file, key in (("/proc/device-tree/model", None), ("/proc/cpuinfo", "model name")):
        if os.path.exists(file):  # noqa: PTH110
            text = Path(file).read_text(encoding="utf-8", errors="replace").replace("\0", "")
            names = (
                [text] if key is None else [line.split(":")[1] for line in text.splitlines() if line.startswith(key)]
            )
            if names:
                return names[0].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
