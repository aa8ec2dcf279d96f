"""Runs scripts of others as they were shipped, with a MultiNASSearch in three lines and nothing else changed.

The scripts are Ray's examples (`ray.tune.examples`), Hugging Face's `hyperparameter_search` with its default space, and
a TorchTrainer within a function. Two lines come first, the import and `search = ...`; and `search_alg=search` goes into
the TuneConfig. Where a script would download MNIST it finds the digits of scikit-learn, drawn larger, in the files that
it looks for. It needs xgboost, lightgbm, lightning, tensorflow, transformers and accelerate. Each script is told with
the number of trials that gave a result, or with its error and with what it raises without the searcher. Two examples
were written for older Keras and Lightning and run with the changes that the new ones need (REPAIRS).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import struct
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import ray
import ray.tune.examples
from annotated_types import MinLen
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

from multinas_ray.commands.script import Script
from multinas_ray.runs import has_record, load_run
from multinas_ray.settings import Flag, OneOf, checked

THREE_LINES = """from multinas_ray.tune import MultiNASSearch
search = MultiNASSearch(complexity="time_total_s", record_path={record!r})
"""

HUGGING_FACE = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

small = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
words = torch.randint(0, 50, (64, 8), generator=torch.Generator().manual_seed(0))
data = [{"input_ids": row, "labels": int(row.sum() % 2)} for row in words]
trainer = Trainer(
    model_init=lambda: BertForSequenceClassification(small),
    args=TrainingArguments("out", report_to="none", use_cpu=True, disable_tqdm=True),
    train_dataset=data,
    eval_dataset=data,
)
trainer.hyperparameter_search(backend="ray", n_trials=3, metric="objective", mode="min", search_alg=search)
"""

TORCH_TRAINER = """
import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

def train_worker(config):
    model = ray.train.torch.prepare_model(torch.nn.Linear(config["width"], 1))
    loss = model(torch.ones(4, config["width"])).square().mean()
    loss.backward()
    ray.train.report({"loss": loss.item()})

def train(config):
    trainer = TorchTrainer(
        train_worker, train_loop_config=config, scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(name=tune.get_context().get_trial_id(), callbacks=[TuneReportCallback()]),
    )
    trainer.fit()

tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 0.1}),
    param_space={"width": tune.choice([1, 2, 3]), "lr": tune.loguniform(1e-4, 1e-1)},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=2),
)
tuner.fit()
"""

SCRIPTS: dict[str, str | list[str]] = {
    "tune_basic_example": ["--smoke-test"],
    "mnist_pytorch": ["--smoke-test"],
    "xgboost_example": [],
    "lightgbm_example": [],
    "mnist_ptl_mini": ["--smoke-test"],
    "tune_mnist_keras": ["--smoke-test"],
    "hugging_face": HUGGING_FACE,
    "torch_trainer": TORCH_TRAINER,
}
"""Name -> flags of an example of Ray, or the script itself."""


@checked
@dataclass(frozen=True, kw_only=True)
class ShippedOptions:
    """The scripts that are run."""

    scripts: Annotated[tuple[Annotated[str, OneOf(SCRIPTS)], ...], MinLen(1), Flag(metavar="NAME")] = tuple(SCRIPTS)
    """Their names."""


REPAIRS: dict[str, list[tuple[str, str]]] = {
    "tune_mnist_keras": [("mnist.load_data()", "stand_in()"), ("SGD(lr=", "SGD(learning_rate=")],
    "mnist_ptl_mini": [
        ("from datasets import load_dataset\n", ""),
        ('load_dataset("ylecun/mnist", cache_dir=self.data_dir)', "stand_in(as_rows=True)"),
        ("        gpus=math.ceil(num_gpus),\n", ""),
        (
            'return {"val_loss": loss, "val_accuracy": acc}',
            'self.log_dict({"ptl/val_loss": loss, "ptl/val_accuracy": acc})',
        ),
        ("def validation_epoch_end", "def of_lightning_1"),
    ],
}
"""Name -> what the newest Keras and Lightning no longer take, and data that are not downloaded."""

STAND_IN = """
def stand_in(as_rows=False):
    import os
    import numpy
    file = numpy.load(os.path.expanduser("~/digits.npz"))
    train, test = ((file["x_" + part], file["y_" + part]) for part in ("train", "test"))
    if not as_rows:
        return train, test
    rows = [[{"image": x, "label": int(y)} for x, y in zip(*part)] for part in (train, test)]
    return {"train": rows[0], "test": rows[1]}
"""


def write_digits(home: Path) -> None:
    """Write the digits of scikit-learn into the files of MNIST that torchvision looks for, and for `stand_in`."""
    digits = load_digits()
    images = np.kron(digits.images, np.ones((1, 3, 3)))
    images = np.pad(images * 255 / 16, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    raw = home / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, part in (("train", slice(0, 1200)), ("t10k", slice(1200, None))):
        content = images[part]
        (raw / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, len(content), 28, 28) + content.tobytes()
        )
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(content)) + labels[part].tobytes())
    parts = {"x_train": images[:1200], "y_train": labels[:1200], "x_test": images[1200:], "y_test": labels[1200:]}
    np.savez(home / "digits.npz", **parts)


def source_of(name: str, record: str | None) -> str:
    """The text of a script; with the searcher that records there, or as shipped if None."""
    script = SCRIPTS[name]
    if isinstance(script, str):
        text = textwrap.dedent(script)
    else:
        text = (Path(ray.tune.examples.__file__).parent / f"{name}.py").read_text()
    for old, new in REPAIRS.get(name, []):
        text = text.replace(old, new)
    if name in REPAIRS:
        text = STAND_IN + text
    if record is None:
        return text.replace(", search_alg=search)", ")")
    text = text.replace("tune.TuneConfig(", "tune.TuneConfig(search_alg=search, ")
    return THREE_LINES.format(record=record) + re.sub(r"^from __future__.*\n", "", text, flags=re.MULTILINE)


def error_of(name: str, record: str | None) -> BaseException | None:
    """Run a script; returns what it raised."""
    flags = SCRIPTS[name]
    sys.argv = [name, *(flags if isinstance(flags, list) else [])]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(compile(source_of(name, record), name, "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            return end if end.code else None
        except Exception as error:  # whatever a script raises is its result
            return error
    return None


@contextlib.contextmanager
def local_ray() -> Iterator[Path]:
    """Starts Ray, which the scripts use in place of one of their own, and a home folder with data."""
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder))
        os.environ |= {"HOME": folder, "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
        os.chdir(folder)
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        start = ray.init
        vars(ray)["init"] = lambda *_, **__: None
        try:
            yield Path(folder)
        finally:
            vars(ray)["init"] = start
            ray.shutdown()


def run(options: ShippedOptions, console: Console) -> None:
    """Run the scripts and print a table."""
    warnings.simplefilter("ignore")
    table = Table("script", "trials with a result", "error", "the same without the searcher")
    with local_ray() as home:
        for name in options.scripts:
            record = str(home / "records" / name)
            error = error_of(name, record)
            rows = load_run(record).evaluations if has_record(record) else None
            finished = "0" if rows is None else str(int(np.isfinite(rows["loss"]).sum()))
            plain = "" if error is None else repr(error_of(name, None))[:200]
            table.add_row(name, finished, "" if error is None else repr(error)[:200], plain)
    console.print(table)


SHIPPED = Script(description=str(__doc__), settings=ShippedOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the scripts; returns the exit status."""
    return SHIPPED.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
