"""Blocks and networks as ONNX models of one batch size, and the same models run by ONNX Runtime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multinas_ray.errors import ConfigError, ExportError, first_line, require
from multinas_ray.latency.config import ProfileSettings
from multinas_ray.spaces import Shape

OPSET = 18
_PURPOSE = "latencies through ONNX Runtime"


def onnx_model(module: nn.Module, input_shape: Sequence[int], batch_size: int) -> bytes:
    """A module in mode eval as an ONNX model of one input, for batches of this size.

    The older exporter of torch is used [ours]: it takes a third of a second for a block where torch.export takes ten,
    and a space has a hundred blocks.

    Raises:
        ExportError: ONNX lacks an operation of the module.
        MissingPackageError: The package onnx is missing.
    """
    require("onnx", extra="export", purpose=_PURPOSE)
    content, example = io.BytesIO(), torch.zeros(batch_size, *input_shape)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's age
            torch.onnx.export(module.eval(), (example,), content, dynamo=False, opset_version=OPSET)  # type: ignore[arg-type]  # a file too
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExportError(
            f"torch.onnx cannot write a block ({first_line(error)}): measure this space with backend='torch'"
        ) from error
    return content.getvalue()


def providers_of(settings: ProfileSettings) -> list[str]:
    """The execution providers of ONNX Runtime for these settings, the first of which must be there.

    Raises:
        ConfigError: This onnxruntime lacks the provider.
        MissingPackageError: The package onnxruntime is missing.
    """
    wanted = {"tensorrt": "TensorrtExecutionProvider", "onnxruntime": f"{settings.device.upper()}ExecutionProvider"}
    provider = wanted[settings.backend]
    there = require("onnxruntime", extra="export", purpose=_PURPOSE).get_available_providers()
    if provider not in there:
        raise ConfigError(
            f"backend={settings.backend!r} on device={settings.device!r} must have ONNX Runtime's {provider}, found "
            f"{', '.join(there)}: install onnxruntime-gpu, or use another backend"
        )
    return [provider]


class OnnxModule(nn.Module):
    """A module that ONNX Runtime computes.

    Args:
        module: a module on the CPU in float32.
        input_shape: (channels, height, width) of one image.
        settings: device, threads and batch size.
    """

    def __init__(self, module: nn.Module, input_shape: Shape, settings: ProfileSettings) -> None:
        super().__init__()
        onnxruntime = require("onnxruntime", extra="export", purpose=_PURPOSE)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = settings.threads, 1
        self._device = settings.device
        self._session: Any = onnxruntime.InferenceSession(
            onnx_model(module, input_shape, settings.images), options, providers=providers_of(settings)
        )
        (taken,), (given,) = self._session.get_inputs(), self._session.get_outputs()
        self._taken, self._given = taken.name, given.name
        with torch.no_grad():
            shape = module(torch.zeros(settings.images, *input_shape)).shape
        self._output = torch.empty(shape, device=settings.device)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return what the module gives for (B, channels, height, width) images."""
        if self._device == "cpu":
            return torch.from_numpy(self._session.run([self._given], {self._taken: images.numpy()})[0])
        binding, output = self._session.io_binding(), self._output
        for bind, name, each in (
            (binding.bind_input, self._taken, images),
            (binding.bind_output, self._given, output),
        ):
            bind(name, "cuda", 0, np.float32, tuple(each.shape), each.data_ptr())
        self._session.run_with_iobinding(binding)
        return output


class GraphedModule(nn.Module):
    """A module on a GPU whose kernels are replayed as a CUDA graph.

    Args:
        module: the module, placed on the GPU in mode eval.
        images: an input of the shape that it will get.
    """

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        super().__init__()
        self._module, self._images, self._graph = module, images.clone(), torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode():
            with torch.cuda.stream(side):
                for _ in range(3):  # as torch asks for before a capture
                    module(self._images)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(self._graph):
                self._output = module(self._images)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute on the input of the capture, whatever is given: only the time counts."""
        self._graph.replay()
        output: Tensor = self._output
        return output
