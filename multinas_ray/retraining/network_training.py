"""The training of one network, epoch by epoch, with torch and timm and without Ray.

Everything random is a function of the seed, the step and the rank. So a training that goes on from the state after any
step gives the same weights as one that was never interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # exported without a word
from timm.scheduler import CosineLRScheduler  # type: ignore[attr-defined]  # exported without a word
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # exported without a word
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from multinas_ray.data import Batches, DataSplits, Images, Variation, call, map_tensors, open_stream
from multinas_ray.errors import RunError
from multinas_ray.retraining.extra_augmentation import ExtraAugmentation
from multinas_ray.retraining.losses import BatchLoss
from multinas_ray.retraining.mixing import Mixed, Mixing
from multinas_ray.retraining.recipe import RetrainConfig
from multinas_ray.settings import checked_arguments
from multinas_ray.supernets import at_least_float32, autocast_to, mean_score, summed_score, whole_float32
from multinas_ray.tasks import MeanScore, Scorer, Task

EpochRow = dict[str, float | int | None]
"""The results of one epoch, with the columns of `multinas_ray.runs.training_schema`."""


class NetworkTraining:
    """A network, its optimiser, its moving average and its batches on one rank.

    Args:
        network: the network with its first weights, on `device`. It is trained in place.
        config: the recipe.
        loss: the loss of a batch; see `RetrainConfig.training_loss`.
        splits: the images.
        crops: the random crops and flips that suit the data; None: there are none.
        device: where this rank computes.
        rank: this rank, from 0.
        world_size: ranks that train this network; with more than one, torch.distributed is initialised.
        task: by what the network is tested; None: classification.

    Raises:
        DataError: a batch is larger than the set of training images.
    """

    @checked_arguments
    def __init__(
        self,
        network: nn.Module,
        config: RetrainConfig,
        loss: BatchLoss,
        splits: DataSplits,
        crops: Variation | None,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        task: Task | None = None,
    ) -> None:
        self.network, self.config, self.splits, self._loss = network, config, splits, loss
        self._device, self._rank, self._world_size = device, rank, world_size
        self._scorer = Scorer(task or Task())
        images = splits.train if config.train_on == "train" else _joined(splits)
        self._batches = self._stream(images, config.step_images, crops if config.augmentation != "none" else None)
        self._validation = self._whole(splits.validation)
        self._vary = None if crops is None else ExtraAugmentation(config, splits.mean, splits.std, rank)
        self._mix = Mixing(config.mixup_alpha, config.cutmix_alpha, config.seed, rank)
        config.check_task(task or Task())
        self._format = number_format(config.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._format == torch.float16)
        self._sgd = sgd(network, config)
        self._schedule = schedule(self._sgd, config, self._batches.batches_per_epoch)
        self._ema = moving_average(network, config)
        self._parallel = _parallel(network, device) if world_size > 1 else network
        self.epoch = 0
        """Number of finished epochs."""
        self.step = 0
        """Number of finished steps of the next epoch."""
        self._loss_sum = self._seconds = 0.0  # over these steps; the loss is the mean over ranks
        self.history: list[EpochRow] = []
        """One row for each finished epoch."""

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are finished."""
        return self.epoch >= self.config.epochs

    @property
    def trained(self) -> nn.Module:
        """The network to keep. It has the averaged weights if the recipe has an average."""
        return self.network if self._ema is None else self._ema.module

    def run_epoch(self, is_pause_wanted: Callable[[], bool] = lambda: False) -> EpochRow | None:
        """Train the rest of an epoch, or up to a pause in which the state can be saved.

        Args:
            is_pause_wanted: asked after each step, also the last one; its answer must be the same on every rank.

        Returns:
            The row of the epoch, the same on every rank; None after a pause, then call it again to go on.

        Raises:
            RunError: the loss is not finite.
        """
        return None if self._run_steps(is_pause_wanted) else self._end_epoch()

    def _run_steps(self, is_pause_wanted: Callable[[], bool]) -> bool:
        """Train the remaining steps of an epoch, or up to a pause; returns whether it paused."""
        started_seconds, steps = time.perf_counter(), self._batches.batches_per_epoch
        self._parallel.train()
        loss, is_paused = torch.zeros((), device=self._device), False
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            while self.step < steps and not is_paused:
                loss = loss + self._train_on_batch(self.epoch * steps + self.step)
                self.step += 1
                is_paused = is_pause_wanted()
        self._loss_sum += float(self._summed(loss)) / self._world_size
        self._seconds += time.perf_counter() - started_seconds
        return is_paused

    def _end_epoch(self) -> EpochRow:
        """Evaluate and record an epoch after its last step; returns its row."""
        steps = self._batches.batches_per_epoch
        train_loss, seconds = self._loss_sum / steps, self._seconds
        if not np.isfinite(train_loss):
            raise RunError(
                f"the training loss must stay finite, it is {train_loss} in epoch {self.epoch + 1}: lower "
                f"learning_rate={self.config.learning_rate:g}, or raise warmup_epochs={self.config.rise_epochs:g}"
            )
        self.epoch, self.step, self._loss_sum, self._seconds = self.epoch + 1, 0, 0.0, 0.0
        validation_loss = validation_accuracy = None
        if self.config.train_on == "train":
            score = self._score(self._validation)
            validation_loss, validation_accuracy = score.loss, self.primary_of(score)
        row: EpochRow = {
            "epoch": self.epoch,
            "learning_rate": self._sgd.param_groups[0]["lr"],
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
            "images_per_second": steps * self.config.step_images / seconds,
            "seconds": seconds,
        }
        self.history.append(row)
        return row

    def _train_on_batch(self, step: int) -> Tensor:
        """Make one weight step, numbered over all epochs; returns the training loss of this rank, on the device."""
        seed = np.random.SeedSequence((self.config.seed, step, self._rank)).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(seed))  # for blocks that draw random numbers, such as dropout
        inputs, targets = self._batches.batch(step)
        if self._vary is not None:
            inputs = self._vary(inputs, step)
        self._schedule.step_update(step)
        self._sgd.zero_grad(set_to_none=True)
        loss = self._add_gradients(self._mix(inputs, step), targets)
        self._scaler.unscale_(self._sgd)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip_norm)
        self._scaler.step(self._sgd)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update(self.network, step + 1)
        return loss

    def _add_gradients(self, mixed: Mixed, targets: Any) -> Tensor:
        """Compute the gradients of the mean loss, pass by pass; returns the loss."""
        passes, total = self.config.accumulated_passes, torch.zeros((), device=self._device)
        size = self.config.step_images // self._world_size // passes
        others = mixed.others(targets)
        for start in range(0, passes * size, size):
            inputs, own, other = (_rows(each, start, size) for each in (mixed.inputs, targets, others))
            with self._gradients_shared(start + size == passes * size):
                with self._autocast():
                    outputs = call(self._parallel, inputs)
                loss_of = partial(self._loss, inputs, map_tensors(at_least_float32, outputs))
                loss = mixed.loss(loss_of, own, other) / passes
                with whole_float32():
                    torch.autograd.backward(self._scaler.scale(loss))
            total = total + loss.detach()
        return total

    def _gradients_shared(self, is_last: bool) -> AbstractContextManager[Any]:
        """In the last pass of a step the gradients are averaged over ranks, and before only summed."""
        is_parallel = isinstance(self._parallel, DistributedDataParallel)
        return self._parallel.no_sync() if is_parallel and not is_last else nullcontext()  # type: ignore[operator]  # mypy does not follow is_parallel

    def score(self, images: Images) -> MeanScore:
        """Return the mean loss and the metrics of the network to keep over all images, in float32."""
        return self._score(self._whole(images))

    def primary_of(self, score: MeanScore) -> float:
        """The primary metric of the task, such as the accuracy."""
        (primary,) = self._scorer.primary
        return score.metrics[primary]

    @torch.no_grad()
    def _score(self, batches: Batches) -> MeanScore:
        trained = self.trained.eval()
        if self._world_size > 1:  # each rank has statistics of its own images: those of rank 0 are kept
            for buffer in trained.buffers():
                dist.broadcast(buffer, src=0)
        sums = self._summed(summed_score(trained, batches.all_batches(), self._scorer))
        return mean_score(sums, self._scorer)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on, as tensors and plain data for torch.load(weights_only=True)."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self._loss_sum,
            "seconds": self._seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "average": None if self._ema is None else self._ema.module.state_dict(),
            "sgd": self._sgd.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`; missing or unknown entries raise."""
        self.epoch, self.step, self.history = int(state["epoch"]), int(state["step"]), list(state["history"])
        self._loss_sum, self._seconds = float(state["loss_sum"]), float(state["seconds"])
        self.network.load_state_dict(state["network"])
        if self._ema is not None:
            self._ema.module.load_state_dict(state["average"])
        self._sgd.load_state_dict(state["sgd"])
        self._scaler.load_state_dict(state["scaler"])

    def _whole(self, images: Images) -> Batches:
        """Batches of a whole set, without augmentation."""
        size = max(1, min(self.config.step_images, len(images)) // self._world_size)
        return self._stream(images, size * self._world_size, None)

    def _stream(self, image_set: Images, batch_size: int, crops: Variation | None) -> Batches:
        return open_stream(
            image_set,
            batch_size=batch_size,
            seed=self.config.seed,
            shuffle=True,
            augment=crops,
            mean=self.splits.mean,
            std=self.splits.std,
            device=self._device,
            rank=self._rank,
            world_size=self._world_size,
            norm_batch_size=1,
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast_to(None if self._format == torch.float32 else self._format, self._device)

    def _summed(self, value: Tensor) -> Tensor:
        """The sum over ranks."""
        if self._world_size > 1:
            dist.all_reduce(value)
        return value


def number_format(precision: str, device: torch.device) -> torch.dtype:
    """The number format of a recipe's precision on a device."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _rows(values: Any, start: int, size: int) -> Any:
    """Rows of all tensors in a structure."""
    return map_tensors(lambda each: each[start : start + size], values)


def sgd(network: nn.Module, config: RetrainConfig) -> torch.optim.SGD:
    """Return SGD whose weight decay leaves out biases and normalisation (timm's parameter groups)."""
    groups = param_groups_weight_decay(network, config.weight_decay)
    momentum = config.momentum
    return torch.optim.SGD(groups, lr=config.peak_learning_rate, momentum=momentum, nesterov=momentum > 0)


def schedule(optimizer: torch.optim.Optimizer, config: RetrainConfig, steps_per_epoch: int) -> CosineLRScheduler:
    """Return the schedule for `step_update(step)`: the rate rises linearly, then falls to 0 along a half cosine."""
    warmup = round(config.rise_epochs * steps_per_epoch)
    return CosineLRScheduler(
        optimizer,
        t_initial=max(1, config.epochs * steps_per_epoch - warmup),
        warmup_t=warmup,
        warmup_lr_init=config.peak_learning_rate / (warmup + 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )


def moving_average(network: nn.Module, config: RetrainConfig) -> ModelEmaV3 | None:
    """Return timm's average of weights and statistics, whose decay rises with the step; None if there is none."""
    if not config.ema_decay:
        return None
    return ModelEmaV3(
        network, decay=config.ema_decay, use_warmup=True, warmup_gamma=1.0, warmup_power=config.ema_warmup_power
    )


def _parallel(network: nn.Module, device: torch.device) -> nn.Module:
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def _joined(splits: DataSplits) -> Images:
    """Training and validation images together."""
    train, validation = splits.train, splits.validation
    return train.join(validation)  # type: ignore[arg-type]  # both are of one class
