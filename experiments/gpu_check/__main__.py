"""Checks on a GPU what tests on CPUs cannot show, and measures it, within about eight minutes.

  environment  versions, the GPU, cores, shared memory, and which optional packages there are
  parity       losses and gradients on the device against those on the CPU, in one group and in several
  shards       losses of the parts of a batch against those of the whole, and of the same batch again
  float32      that losses, gradients, scores and trainings in float32 do not depend on TensorFloat-32
  deterministic  rounds and a training twice, which must be equal where that is asked for
  bfloat16     losses and the order of subnets in bfloat16 against float32
  layout       whether all feature maps of a weight step stay in channels_last
  checkpoint   a state that is saved on the device and read on the CPU, and the round after it
  rounds       the operations for which the host waits in rounds, over the border of an epoch
  averaging    the cost of averaging gradients, with one rank, and its host waits
  retraining   losses, a saved state and host waits of training steps, with each augmentation
  choice       candidates in bfloat16, with passes that are halved since the memory is not enough
  training     a weight step against the same network in plain PyTorch: time, kernels, share of busy time
  evaluation   the losses of several subnets: the same figures
  graphs       what a CUDA graph would gain in training and in evaluation
  memory       the peak of a weight step against what the space says of its activations
  input        streamed JPEGs: images a second, host waits, and the decoder of the GPU
  latency      a latency table against whole networks, and whether launches decide

Each part prints one line of JSON: its outcome (ok, failed or skipped), why, its seconds and its figures. --out keeps
the lines. The next part goes on whatever became of the one before; the exit status is 1 if a part failed. Each of
them needs torch and what multinas_ray needs; a part that lacks a package or a GPU is skipped. On a CPU,
--device cpu --tiny runs the script itself, whose figures mean nothing then. Run it from the repository's folder, as
python -m experiments.gpu_check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.gpu_check.options import GpuCheckOptions
from multinas_ray.commands.script import Script

if TYPE_CHECKING:
    from rich.console import Console

GPU_CHECK = Script(description=str(__doc__), settings=GpuCheckOptions, program="python -m experiments.gpu_check")


def main(argv: list[str] | None = None) -> int:
    """Run the check; returns the exit status, 1 if a part failed."""
    failed: list[str] = []

    def run(options: GpuCheckOptions, console: Console) -> None:
        from experiments.gpu_check.working import run  # here, since it loads what --help does not need

        failed.extend(run(options, console))

    status = GPU_CHECK.run(argv, run)
    return status or int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
