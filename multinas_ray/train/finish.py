"""The end of a search: the K networks with inherited weights and their own batch-normalisation statistics."""

from __future__ import annotations

import io

import torch
from torch import nn
from torch.nn import functional

from multinas_ray.data import BatchStream
from multinas_ray.results import resolve, write_atomic
from multinas_ray.results.storage import make_folder
from multinas_ray.supernets import extract_subnet, recalibrate_batch_norm
from multinas_ray.train.messages import NetworkResult
from multinas_ray.train.rounds import RoundWorker

WEIGHTS_FILE = "weights.pt"
RECALIBRATION_IMAGES = 20_000
"""Most training images used for batch-normalisation statistics; their error falls with the square root of this."""


def evaluate_network(worker: RoundWorker, index: int, architecture: tuple[int, ...]) -> NetworkResult:
    """Extract network `index`, recalibrate it, evaluate it on all validation and test images, save its weights."""
    subnet = extract_subnet(worker.supernet, architecture).to(worker.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch_size = worker.job.training.batch_size
    batches = whole_split(worker, "train", batch_size)
    num_batches = min(batches.batches_per_epoch, max(1, RECALIBRATION_IMAGES // batch_size))
    recalibrate_batch_norm(subnet, (batches.batch(step)[0] for step in range(num_batches)))
    validation_loss, validation_accuracy = score(subnet, whole_split(worker, "validation", batch_size))
    _, test_accuracy = score(subnet, whole_split(worker, "test", batch_size))
    folder = resolve(worker.job.run_path).join("networks", str(index))
    make_folder(folder)
    buffer = io.BytesIO()
    torch.save(subnet.state_dict(), buffer)
    write_atomic(folder.join(WEIGHTS_FILE), buffer.getvalue())
    return NetworkResult(
        index=index,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        test_accuracy=test_accuracy,
        weights_path=f"networks/{index}/{WEIGHTS_FILE}",
    )


def whole_split(worker: RoundWorker, split: str, batch_size: int) -> BatchStream:
    """Batches of a whole split for one rank alone, shuffled once, not augmented."""
    images = getattr(worker.splits, split)
    return BatchStream(
        images,
        batch_size=min(batch_size, len(images)),
        seed=worker.job.seed,
        shuffle=True,
        augment=None,
        mean=worker.splits.mean,
        std=worker.splits.std,
        device=worker.device,
        norm_batch_size=1,
    )


@torch.no_grad()
def score(subnet: nn.Module, batches: BatchStream) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over every image of a split."""
    loss = correct = total = torch.zeros((), device=next(subnet.parameters()).device)
    for images, labels in batches.all_batches():
        logits = subnet(images)
        loss = loss + functional.cross_entropy(logits, labels, reduction="sum")
        correct = correct + (logits.argmax(1) == labels).sum()
        total = total + len(labels)
    return float(loss / total), float(correct / total)
