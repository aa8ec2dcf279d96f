"""A network in 8-bit whole numbers, as an ONNX file beside the one in float32, and what that costs.

ONNX Runtime quantises statically: the ranges of the activations are those that calibration images give. Weights have a
scale for each output channel.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from multinas_ray.data import DataSplits
from multinas_ray.errors import ConfigError, ExportError, first_line, require
from multinas_ray.export.formats import (
    INPUT_NAME,
    ONNX_FILE,
    PARITY_FILE,
    FileParity,
    compare,
    load_onnx,
    run_batches,
    write_parity,
)
from multinas_ray.export.images import plain_stream, to_pixels

INT8_FILE = "model_int8.onnx"
QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operations that are quantised: those with weights. Additions and the normalisation of the pixels stay in float32, so
that neither loses resolution. [ours]"""

_BATCH = 32


class Quantiser:
    """Writes and judges quantised files, with the images of a run.

    Args:
        splits: the images; those of the training calibrate, those of the test judge.
        num_images: images that calibrate, drawn at random from the training images.

    Raises:
        ConfigError: the networks do not classify images.
    """

    def __init__(self, splits: DataSplits, num_images: int) -> None:
        if splits.image_shape is None:
            raise ConfigError("quantise must be off where networks do not take images: leave it out")
        self._splits = splits
        count = min(num_images, len(splits.train))
        stream = plain_stream(splits, splits.train, count, shuffle=True)
        self._calibration = to_pixels(stream.batch(0)[0], splits.mean, splits.std)

    def add(self, network: nn.Module, folder: Path, parities: Sequence[FileParity], images: Tensor) -> list[FileParity]:
        """Write the quantised file beside ``model.onnx``, and the accuracies of both into ``parity.json``.

        Args:
            network: the network in torch, in mode eval on the CPU.
            folder: the folder of an export, with ``model.onnx``.
            parities: those of the files that are there.
            images: (n, C, H, W) normalised images of the check.

        Returns:
            The parities, with one more at the end.
        """
        self._write(folder)
        pixels = to_pixels(images, self._splits.mean, self._splits.std)
        actual, expected = run_batches(load_onnx(folder / INT8_FILE), pixels), run_batches(network, images)
        told = f"onnxruntime {version('onnxruntime')}, CPU, int8"
        whole = [*parities, compare(folder / INT8_FILE, told, actual, expected)]
        scored = [
            replace(each, test_accuracy=self._accuracy(folder / each.file))
            if each.file in (ONNX_FILE, INT8_FILE)
            else each
            for each in whole
        ]
        write_parity(folder / PARITY_FILE, scored, len(images))
        return scored

    def _write(self, folder: Path) -> None:
        quantization = require("onnxruntime.quantization", extra="export", purpose="quantised files")
        try:
            with _quiet():
                quantization.quantize_static(
                    folder / ONNX_FILE,
                    folder / INT8_FILE,
                    _Calibration(self._calibration.split(_BATCH)),
                    quant_format=quantization.QuantFormat.QDQ,
                    op_types_to_quantize=list(QUANTISED),
                    per_channel=True,
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                    # Weights of 7 bits: the sums of 8 bits saturate on x86-64 without VNNI (onnxruntime's own advice)
                    reduce_range=True,
                )
        except Exception as error:  # of classes that onnxruntime does not name
            raise ExportError(
                f"onnxruntime cannot quantise {ONNX_FILE} ({first_line(error)}): leave quantise out"
            ) from error

    def _accuracy(self, file: Path) -> float:
        """Share of the test images that a file classifies as labelled."""
        predict, splits, right = load_onnx(file), self._splits, 0
        for images, labels in plain_stream(
            splits, splits.test, min(_BATCH, len(splits.test)), shuffle=False
        ).all_batches():
            (logits,) = predict(to_pixels(images, splits.mean, splits.std))
            right += int((logits.argmax(1) == labels).sum())
        return right / len(splits.test)


class _Calibration:
    """Batches of pixels as onnxruntime asks for them: a mapping for each, then None."""

    def __init__(self, batches: Sequence[Tensor]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: np.ascontiguousarray(batch.numpy())}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice to optimise the model first: torch has done that."""
    logger, before = logging.getLogger(), logging.getLogger().level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
