"""A network as files that run elsewhere, and the check that they compute the same as the network.

Notation: n samples of the check, B samples of a batch, C channels, H height, W width, L classes.
"""

from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multinas_ray.data import call, map_tensors, num_samples, tensors_of
from multinas_ray.errors import FAILURES, ConfigError, DataError, ExportError, first_line, require
from multinas_ray.storage import write_atomic
from multinas_ray.supernets import whole_float32

logger = logging.getLogger(__name__)

PT2_FILE = "model.pt2"
ONNX_FILE = "model.onnx"
SAFETENSORS_FILE = "weights.safetensors"
PARITY_FILE = "parity.json"
TOLERANCE = 1e-4
"""The largest allowed difference between an output of a file and the same output of the network."""
BATCH_SIZES = (1, 7, 64)
"""Batches of the check: one image, an odd number and a common size. None of them is the size that was traced."""
INPUT_NAME, OUTPUT_NAME = "pixels", "logits"
OPSET = 18
"""ONNX operator set [ours]: the oldest that torch.onnx writes without a conversion, so that older runtimes work."""

_TRACED_BATCH = 2  # torch.export would take a batch of 1 for a constant
_PROTOBUF_LIMIT_BYTES = 2**31 - 2**20
_METADATA_FILE = "metadata.json"

Predict = Callable[[Any], Any]
"""From inputs, such as (B, C, H, W) uint8 pixels, to outputs, such as (B, L) logits."""


@dataclass(frozen=True)
class FileParity:
    """The difference between a file and the network from which it was made."""

    file: str
    """Name of the file."""
    runtime: str
    """The runtime that ran it, with its version."""
    size_bytes: int
    """Size of the file."""
    max_abs_difference: float
    """Largest absolute difference of an output over all samples of the check."""
    top1_agreement: float | None
    """Share of the images, 0..1, for which both have their largest logit in the same class; None: there are no logits
    of classes."""
    difference_by_batch_size: dict[str, float]
    """Largest absolute difference in each batch, by the number of its samples."""
    test_accuracy: float | None = None
    """Share of all test images that the file classifies as labelled, 0..1; None: it was not measured."""


class PixelNetwork(nn.Module):
    """A network with its normalisation: it maps raw pixels to logits.

    The pixels are whole numbers, as decoders give them, and the normalisation is part of the graph [ours]. So float
    images are a type error, and nobody can lose accuracy by a wrong scale or a forgotten mean.

    Args:
        network: the network, which takes normalised images.
        mean: (C,) mean of the training pixels, scaled to 0..1.
        std: (C,) standard deviation of the same.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        # (pixel / 255 - mean) / std = shift + pixel * scale
        scale = (1 / (255 * np.asarray(std))).astype(np.float32)
        shift = (-np.asarray(mean) / np.asarray(std)).astype(np.float32)
        self.register_buffer("scale", torch.from_numpy(scale).view(-1, 1, 1))
        self.register_buffer("shift", torch.from_numpy(shift).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the (B, L) logits of (B, C, H, W) uint8 pixels."""
        logits: Tensor = self.network(torch.addcmul(self.shift, pixels.to(torch.float32), self.scale))  # type: ignore[arg-type]  # buffers are tensors
        return logits


def check_packages(*, onnx: bool) -> None:
    """Import the packages that `export_network` needs.

    Raises:
        MissingPackageError: a package is not installed; the message says how to install it.
    """
    require("safetensors.torch", extra="export", purpose="safetensors files")
    for module in ("onnx", "onnxscript", "onnxruntime") if onnx else ():
        require(module, extra="export", purpose="ONNX files (--no-onnx leaves them out)")


def export_network(
    network: nn.Module,
    folder: Path,
    *,
    pixels: Any,
    images: Any,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    metadata: Mapping[str, str] | None = None,
    onnx: bool = True,
) -> list[FileParity]:
    """Write a network as ``model.pt2``, ``model.onnx`` and ``weights.safetensors``, and check them.

    The programs take uint8 pixels of any number of images and return float32 logits. They hold the normalisation, the
    weights and the network in mode `eval`, for the CPU, in float32. A format that cannot hold the network is left out,
    with a warning that says why. The weights file, which is always written, holds the state of the network unchanged.
    The check runs in this process: batches of 1, 7 and 64 images pass through the programs and are compared with
    `network` on the images as they were normalised in training. The result is written to ``parity.json``.
    Without `mean` and `std` the programs are the network itself, with inputs and outputs of any structure.

    Args:
        network: the network, which takes (B, C, H, W) normalised images, or other inputs; it is not changed.
        folder: an existing folder for the files.
        pixels: (n, C, H, W) uint8, real images, n >= 1, or other inputs of n samples.
        images: (n, C, H, W) float32, the same ones normalised by the pipeline that trained the network; other inputs
            again.
        mean: (C,) the mean that the pipeline subtracts from pixels scaled to 0..1; empty for other inputs.
        std: (C,) the standard deviation that divides the difference.
        metadata: texts that are stored inside each file, such as the names of the classes.
        onnx: whether ``model.onnx`` is written.

    Returns:
        The parity of each program with the network; none where torch.export cannot trace it.

    Raises:
        ExportError: a file differs by more than 1e-4. Then no file is left.
        DataError: `pixels` and `images` do not match.
        MissingPackageError: a package of the extra "export" is missing.
    """
    check_packages(onnx=onnx)
    if mean:
        _check_images(pixels, images)
    if not folder.is_dir():
        raise ConfigError(f"folder must exist, got {folder}: create it first")
    network = copy.deepcopy(network).to("cpu", torch.float32, memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]  # torch has no type of memory_format alone
    texts = dict(metadata or {})
    program = PixelNetwork(network, mean, std).eval() if mean else network
    try:
        with whole_float32():
            runs = _write_programs(program, folder, pixels, texts, onnx)
            _write_weights(network, folder / SAFETENSORS_FILE, texts)
            parities = _check_programs(network, folder, pixels, images, runs)
    except BaseException:
        for name in (PT2_FILE, ONNX_FILE, f"{ONNX_FILE}.data", SAFETENSORS_FILE, PARITY_FILE):
            (folder / name).unlink(missing_ok=True)
        raise
    if parities:
        write_parity(folder / PARITY_FILE, parities, num_samples(pixels))
    return parities


def _check_images(pixels: Tensor, images: Tensor) -> None:
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or not len(pixels):
        raise DataError(
            f"pixels must be uint8 of shape (n, C, H, W), n >= 1, got {pixels.dtype} of {tuple(pixels.shape)}"
        )
    if images.shape != pixels.shape:
        raise DataError(
            f"images must be the normalised pixels, of shape {tuple(pixels.shape)}, got {tuple(images.shape)}"
        )


def input_names(inputs: Any) -> dict[str, Tensor]:
    """The tensors of a program's inputs by their names in ONNX files: pixels, keys of a dictionary, or numbered."""
    tensors = tensors_of(inputs)
    if isinstance(inputs, Tensor):
        return {INPUT_NAME if inputs.dtype == torch.uint8 else "inputs": inputs}
    if isinstance(inputs, Mapping) and len(tensors) == len(inputs):
        return dict(zip(map(str, inputs), tensors, strict=True))
    return {f"input{number}": each for number, each in enumerate(tensors)}


def _write_programs(
    network: nn.Module, folder: Path, pixels: Any, texts: Mapping[str, str], onnx: bool
) -> dict[str, Predict]:
    """Write a network in each format that can hold it; a warning tells why another one cannot.

    Returns:
        What runs each file that was written, by its name.
    """
    names, runs = [PT2_FILE, *([ONNX_FILE] if onnx else [])], dict[str, Predict]()
    try:
        program = _trace(network, pixels)
    except ExportError as error:
        logger.warning("%s cannot be written: %s; %s is written", " and ".join(names), error, SAFETENSORS_FILE)
        return runs
    for name in names:
        write, load = (_write_pt2, _load_pt2) if name == PT2_FILE else (_write_onnx, load_onnx)
        try:
            write(program, folder / name, texts, pixels)
            runs[name] = load(folder / name)
        except ExportError as error:
            logger.warning("%s cannot be written: %s; the other files are written", name, error)
            for each in (name, f"{name}.data"):
                (folder / each).unlink(missing_ok=True)
    return runs


def _trace(network: nn.Module, pixels: Any) -> Any:
    """Return the network as an exported program for any number of samples, without paths of this machine.

    Raises:
        ExportError: it cannot be traced.
    """
    example = map_tensors(lambda each: torch.cat([each[:1]] * _TRACED_BATCH).contiguous(), pixels)
    args = () if isinstance(example, Mapping) else tuple(example) if isinstance(example, (tuple, list)) else (example,)
    kwargs = dict(example) if isinstance(example, Mapping) else {}
    shapes = _first_axes(pixels, torch.export.Dim("batch", min=1))
    try:
        program = torch.export.export(network, args, kwargs, dynamic_shapes=shapes, strict=False)
    except FAILURES as error:  # the network is the user's and may raise anything
        raise ExportError(
            f"torch.export cannot trace this network ({first_line(error)}): let forward consist of torch operations "
            "that accept any number of samples, without branches on values"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds paths of this machine
    return program


def _first_axes(inputs: Any, size: Any) -> Any:
    """The size of the first axis of each tensor, as torch takes it for the arguments of a network."""
    sizes = map_tensors(lambda _: {0: size}, inputs)
    return sizes if isinstance(inputs, Mapping) else tuple(sizes) if isinstance(inputs, (tuple, list)) else (sizes,)


def _write_pt2(program: Any, file: Path, texts: Mapping[str, str], inputs: Any) -> None:
    content = io.BytesIO()  # torch ends the process where the disk gets full while it writes a file
    try:
        torch.export.save(program, content, extra_files={_METADATA_FILE: json.dumps(texts)})
    except Exception as error:  # of classes that torch does not name
        raise ExportError(
            f"torch.export cannot save this network ({first_line(error)}): replace the operation or the object of your "
            "own that it holds, or use another file"
        ) from error
    write_atomic(file, content.getvalue())


def _write_onnx(program: Any, file: Path, texts: Mapping[str, str], inputs: Any) -> None:
    names = [*input_names(inputs)]
    outputs = [OUTPUT_NAME] if names == [INPUT_NAME] else None
    try:
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=_first_axes(inputs, "batch") if len(names) == 1 else None,  # torch warns of equal ones
            opset_version=OPSET,
            verbose=False,
        )
    except Exception as error:  # of classes that torch does not name
        raise ExportError(
            f"torch.onnx cannot write this network ({first_line(error)}): replace the operation that ONNX lacks, or "
            "use another file"
        ) from error
    assert converted is not None
    for node in converted.model.graph:
        node.metadata_props.clear()  # the origin of each node in torch's graph, which would be a fifth of the file
    converted.model.metadata_props.update(texts)
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    converted.save(file, external_data=size > _PROTOBUF_LIMIT_BYTES)


def _write_weights(network: nn.Module, file: Path, texts: Mapping[str, str]) -> None:
    safetensors = require("safetensors.torch", extra="export", purpose="safetensors files")
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in network.state_dict().items()}
    write_atomic(file, safetensors.save(state, metadata={"format": "pt", **texts}))
    loaded = safetensors.load_file(file)
    different = [name for name in state if name not in loaded or not torch.equal(state[name], loaded[name])]
    if different:
        raise ExportError(f"{file} does not hold the weights that were written to it ({different}): check the disk")


def _check_programs(
    network: nn.Module, folder: Path, pixels: Any, images: Any, runs: Mapping[str, Predict]
) -> list[FileParity]:
    """Compare what files compute with the network.

    Raises:
        ExportError: a difference is above the tolerance.
    """
    expected, parities = run_batches(network, images), []
    for name, predict in runs.items():
        package = "torch" if name == PT2_FILE else "onnxruntime"
        runtime = f"{package} {version(package)}, CPU"
        parity = compare(folder / name, runtime, run_batches(predict, pixels), expected)
        # not (a <= b): a NaN does not pass
        if not parity.max_abs_difference <= TOLERANCE:
            raise ExportError(
                f"an output of {name} may differ from the network by {TOLERANCE:g} at most, it differs by "
                f"{parity.max_abs_difference:.3g} ({runtime}), so the file was deleted: check that mean and std are "
                "those of the training, and that no block draws random numbers or changes when it is traced"
            )
        parities.append(parity)
    return parities


def _load_pt2(file: Path) -> Predict:
    try:
        module: Predict = torch.export.load(file).module()
    except Exception as error:  # of classes that torch does not name
        raise ExportError(
            f"torch.export cannot load {file.name} ({first_line(error)}): replace what only your own code knows, or "
            "use another file"
        ) from error
    return module


def load_onnx(file: Path) -> Predict:
    """An ONNX file as a function.

    Raises:
        ExportError: ONNX Runtime cannot load it.
    """
    onnxruntime = require("onnxruntime", extra="export", purpose="ONNX files")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that onnxruntime does not name
        raise ExportError(f"onnxruntime cannot load {file.name} ({first_line(error)}): use another file") from error
    taken = {each.name for each in session.get_inputs()}  # without those that nothing depends on

    def predict(*args: Any, **kwargs: Any) -> list[Tensor]:
        given = kwargs or (args[0] if len(args) == 1 else args)
        feed = {name: each.numpy() for name, each in input_names(given).items() if name in taken}
        return [torch.from_numpy(each) for each in session.run(None, feed)]

    return predict


@torch.no_grad()
def run_batches(predict: Predict, images: Any) -> dict[int, list[Tensor]]:
    """The outputs of consecutive samples in batches of `BATCH_SIZES`; after the last sample comes the first."""
    outputs = {}
    start = 0
    for size in BATCH_SIZES:
        index = torch.arange(start, start + size) % num_samples(images)
        batch = map_tensors(itemgetter(index), images)
        outputs[size] = tensors_of(call(predict, batch))
        start += size
    return outputs


def compare(
    file: Path, runtime: str, actual: Mapping[int, list[Tensor]], expected: Mapping[int, list[Tensor]]
) -> FileParity:
    """What two sets of outputs, by size of the batch, differ in."""
    pairs = {size: list(zip(actual[size], expected[size], strict=True)) for size in expected}
    differences = {
        str(size): float(torch.stack([_difference(*pair) for pair in each]).max()) for size, each in pairs.items()
    }
    are_logits = all(len(each) == 1 and each[0].ndim == 2 for each in expected.values())
    same = [a.argmax(1) == b.argmax(1) for each in pairs.values() for a, b in each] if are_logits else []
    return FileParity(
        file=file.name,
        runtime=runtime,
        size_bytes=file.stat().st_size,
        max_abs_difference=float(torch.tensor(list(differences.values())).max()),  # NaN stays NaN
        top1_agreement=float(torch.cat(same).float().mean()) if same else None,
        difference_by_batch_size=differences,
    )


def _difference(actual: Tensor, expected: Tensor) -> Tensor:
    """The largest absolute difference."""
    return (actual.double() - expected.double()).abs().max()


def write_parity(file: Path, parities: Sequence[FileParity], num_images: int) -> None:
    """Write ``parity.json``."""
    record = {
        "reference": "the network in torch, in mode eval and float32, on images normalised by its training pipeline",
        "tolerance": TOLERANCE,
        "num_images": min(num_images, sum(BATCH_SIZES)),
        "batch_sizes": BATCH_SIZES,
        "files": {parity.file: asdict(parity) for parity in parities},
    }
    write_atomic(file, (json.dumps(record, indent=2) + "\n").encode())
