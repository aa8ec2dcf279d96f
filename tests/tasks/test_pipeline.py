"""A task that is no classification, from rounds to files, in this process."""

import io
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from multinas_ray.choices import model_space
from multinas_ray.data import DataConfig, image_counts, load_splits
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.export import ExportConfig, export_networks
from multinas_ray.export.formats import export_network
from multinas_ray.latency import ProfileSettings, profile_model
from multinas_ray.oneshot import OneShotSearchConfig, RoundWorker, WorkerJob
from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.preflight import check_data
from multinas_ray.report.writing import render_report
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining.worker import RetrainJob, train_network
from multinas_ray.runs import architectures_schema, load_retraining, load_run, primary_metric, write_config
from multinas_ray.selection import networks_table
from multinas_ray.selection.evaluation import CandidateEvaluator
from multinas_ray.spaces import register_model
from multinas_ray.storage import make_table, write_parquet
from multinas_ray.supernets import WeightTraining, build_subnet, write_supernet
from multinas_ray.tasks import Metric, Task
from tests.support.narrow import present
from tests.support.worker_jobs import candidate_job
from tests.tasks.series import TASK, Reader, Series, series, space

CPU = torch.device("cpu")
DATA = DataConfig(source=series.__name__, source_options={"num": 320})
TRAINING = WeightTraining(batch_size=32, validation_batch_size=64, norm_batch_size=16, learning_rate=0.05)
ROWS = np.array([(0, 0), (1, 0), (1, 1)])


@pytest.fixture(scope="module")
def worker() -> RoundWorker:
    job = WorkerJob(
        space=space(),
        data=DATA,
        training=TRAINING,
        task=TASK,
        num_weight_steps=80,
        warmup_rounds=80,
        seed=1,
        broker="broker",
        namespace="tests",
        run_path="",
    )
    worker = RoundWorker(job, load_splits(DATA), CPU)
    for number in range(80):
        worker.run(Round(number=number, train_architectures=ROWS, architectures=None))
    return worker


def test_rounds_learn_and_the_metric_is_told(worker) -> None:
    fresh = RoundWorker(worker.job, worker.splits, CPU)
    told = Round(number=80, train_architectures=None, architectures=ROWS)
    before, after = fresh.run(told).tolist(), worker.run(told).tolist()
    assert len(after) == 1 + 2 * 3
    assert max(after[1:4]) < 0.5 * min(before[1:4])
    assert all(error < np.sqrt(loss) for loss, error in zip(after[1:4], after[4:], strict=True))


def test_candidates_are_scored_and_kept(worker, tmp_path) -> None:
    write_supernet(worker.supernet, str(tmp_path))
    evaluator = CandidateEvaluator(candidate_job(worker, tmp_path))
    rows = [tuple(row) for row in ROWS.tolist()]
    (whole,) = evaluator.rungs(3)
    scores = evaluator.evaluate(whole, rows)
    assert [score.images for score in scores] == [64] * 3
    assert len(scores[0].part_losses) == 20
    assert all(0 < score.accuracy < np.sqrt(score.loss) for score in scores)
    assert np.isfinite(evaluator.prior(["depth", "naswot"], rows)[0]).all()
    assert 0 < evaluator.finish(rows[2], [str(tmp_path / "network")]) < 1


def test_a_network_is_trained_alone_by_the_task(tmp_path) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    job = RetrainJob(
        space=space(),
        data=DATA,
        task=TASK,
        config=RetrainConfig(epochs=8, batch_size=32, learning_rate_scaling="none", train_on="train"),
        architecture=(1, 1),
        family_path=str(tmp_path),
        folders=(str(folder),),
        work_path=str(tmp_path / "work"),
        supernet_weights=None,
    )
    reports: list[dict[str, float]] = []
    train_network(job, reports.append, 0.0, CPU)
    result = present(present(load_retraining(str(folder))).result)
    assert result.loss < reports[0]["validation_loss"]
    assert result.loss < 0.2, "the variance of the targets is 0.8"
    assert result.accuracy < np.sqrt(result.loss)


@pytest.mark.slow
def test_files_take_inputs_by_name(tmp_path) -> None:
    network = build_subnet(space(), (1, 1)).eval()
    inputs = torch.utils.data.default_collate([Series(9, 2)[n][0] for n in range(9)])
    parities = export_network(network, tmp_path, pixels=inputs, images=inputs)
    assert [each.top1_agreement for each in parities] == [None, None]
    program = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(**inputs), network(**inputs))


class Unwritable(torch.nn.Module):
    """Takes what ONNX has no operation for."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(values).real


def test_what_onnx_lacks_is_told_and_the_other_files_are_kept(tmp_path, caplog) -> None:
    values = torch.randn(9, 3, 3)
    with caplog.at_level(logging.WARNING, logger="multinas_ray"):
        (parity,) = export_network(Unwritable(), tmp_path, pixels=values + values.mT, images=values + values.mT)
    assert parity.file == "model.pt2"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt2", "parity.json", "weights.safetensors"]
    assert "torch.onnx cannot write this network" in caplog.text


@register_model
class OneByOne(Reader):
    """Goes through the samples in a loop, which torch.export cannot do for any number of them."""

    def forward(self, values: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        each = [super(OneByOne, self).forward(values[n : n + 1], scale[n : n + 1]) for n in range(len(values))]
        return {name: torch.cat([one[name] for one in each]) for name in each[0]}


def search(**changes) -> OneShotSearchConfig:
    settings = {"space": space(), "data": DATA, "task": TASK, "training": TRAINING, "coefficients": (0.0, 1.0)}
    return OneShotSearchConfig(**{**settings, "name": "a", "warmup_rounds": 1, "search_rounds": 1, **changes})


def test_the_record_tells_the_task() -> None:
    config = search()
    check_data(config)
    description = json.loads(json.dumps(config.to_dict(), default=list))
    assert primary_metric(description).name == "mae"
    assert primary_metric(description).text(0.123456) == "0.1235"
    assert image_counts(load_splits(DATA))["used"] == {"train": [256], "validation": [64], "test": [64]}


def test_what_does_not_fit_the_task_is_told_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="label_smoothing is for the loss cross_entropy"):
        search(training=WeightTraining(label_smoothing=0.1))
    with pytest.raises(ConfigError, match=r"the loss torch\.nn\.functional\.mse_loss raised"):
        check_data(search(task=Task(loss="torch.nn.functional.mse_loss", metrics={"a": Metric("absolute_error")})))
    other = model_space(OneByOne, {"values": torch.zeros(6), "scale": torch.tensor(1.0)}, arguments={"hidden": 4})
    with pytest.raises(
        DataError, match=r"the model takes .*float32\[\].*, the dataset gives .*int64\[\].*: make the space"
    ):
        check_data(search(space=other))
    with pytest.raises(DataError, match="the space takes images of shape"):
        check_data(search(data=DataConfig(source="digits")))


def written_run(folder: Path, **changes) -> str:
    """A run of one network as a search and a training leave it, with random weights."""
    config, row = search(storage_path=str(folder), **changes), (1, 1)
    place = folder / "a" / "networks" / "0"
    place.mkdir(parents=True)
    torch.save(build_subnet(config.space, row).state_dict(), place / "weights.pt")
    write_config(config.run_path, config.to_dict())
    known = {
        "network": [0],
        "origin": ["mode"],
        "architecture": [row],
        "architecture_readable": [config.space.search_space.describe(row)],
        "weights_path": ["networks/0/weights.pt"],
        "supernet_accuracy": [1.25],
        "supernet_test_accuracy": [1.5],
        "supernet_loss": [2.0],
        "complexity": [1.0],
        "coefficient": [0.0],
        **{name: cost([row]) for name, cost in config.space.costs.items()},
    }
    schema = architectures_schema(list(config.space.costs))
    columns = {name: known.get(name, [None]) for name in schema.names}
    write_parquet(folder / "a" / "architectures.parquet", make_table(schema, columns))
    return config.run_path


def test_card_tables_and_report_tell_the_metric_and_the_samples(tmp_path) -> None:
    run_path, console = written_run(tmp_path), Console(record=True, width=200, file=io.StringIO())
    (exported,) = export_networks(run_path, ExportConfig(onnx=False), console=console)
    card = (Path(exported.path) / "README.md").read_text()
    for text in (
        "mae, supernet's weights | 1.25",
        "mae, supernet's weights | 1.5",
        "compared with the network on validation samples",
    ):
        assert text in card
    run = load_run(run_path)
    console.print(networks_table(run.architectures, primary_metric(run.config)))
    report = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", render_report(run_path), flags=re.DOTALL)
    assert "mae on all validation samples" in report
    table = console.export_text()
    assert "1.25" in table
    assert "1.25" in report
    for text in (card, table, report):
        assert not re.search(r"accurac|\bimages?\b|logit|1\d\d\.\d+ ?%", text, re.IGNORECASE)


def test_a_network_that_cannot_be_traced_keeps_its_weights_and_its_card(tmp_path, caplog) -> None:
    looping = model_space(OneByOne, Series(1, 0)[0][0], arguments={"hidden": 4})
    run_path, latency = written_run(tmp_path, space=looping), str(tmp_path / "latency.parquet")
    profile_model(looping, ProfileSettings(batch_size=2, least_passes=2, most_passes=2)).table.write(latency)
    (exported,) = export_networks(
        run_path, ExportConfig(onnx=False, latency_table=latency), console=Console(quiet=True)
    )
    assert sorted(exported.sizes) == ["architecture.json", "weights.safetensors"]
    assert "model.pt2 cannot be written: torch.export cannot trace this network" in caplog.text
    card = (Path(exported.path) / "README.md").read_text()
    assert "There is no program, since torch.export cannot trace the network" in card
    assert "model.pt2" not in card
    assert "The latency is the sum of its modules, which were measured on" in card
    code = card.split("```python")[1].split("```")[0]
    assert "build_subnet(space_from_dict" in code
