"""Examples of what the public names take: by call, by name of the parameter, or by its type."""

import collections.abc
import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from rich.console import Console

from multinas_ray import core, data, latency, oneshot, retraining, runs, selection, spaces, supernets, tasks
from multinas_ray.data.decoding import Encoded
from multinas_ray.selection.ranking import Ranking
from tests.support.tiny_search import tiny_space

SPACE = tiny_space()
BLOCK = spaces.mbconv(8, 8, 3, 2)
COST = SPACE.costs["params"]
ROWS = np.zeros((2, 3), dtype=np.int64)
LOSSES = np.array([1.0, 0.5])
PROBS = np.array([[[1 / 3] * 3, [0.5, 0.5, 0.0], [1 / 3] * 3]] * 2)
DRAWS = core.Proposals(
    architectures=ROWS, log_q=-LOSSES, sources=np.zeros(2, int), ids=np.arange(2), drawn_at=np.zeros(2, int)
)
IMAGES = data.ImageSet(np.zeros((8, 8, 8, 1), np.uint8), np.arange(8) % 2)
SPLITS = data.DataSplits(IMAGES, IMAGES, IMAGES, (0.5,), (0.5,), ("a", "b"), (1, 8, 8))
DIGITS = data.DataConfig(source="digits")
CONDITIONS = latency.LatencyConditions(device="a chip", batch_size=1, precision="float32")
LATENCY_ROW = latency.BlockLatency(
    block="a", description="{}", input_shape=(1, 8, 8), median_ms=1.0, mean_ms=1.0, spread_ms=0.1, repeats=3
)
TABLE = latency.LatencyTable((LATENCY_ROW,), CONDITIONS)
SCHEMA = pa.schema([pa.field("a", pa.int64())])
RESULT = runs.Retrained(loss=1.0, accuracy=0.5, epochs=1, seconds=1.0)
SETTINGS = core.DistributionSettings(num_categories=(3, 2, 3), coefficients=(0.0, 1.0))
GOAL = selection.Goal(limits={"params": 1e9})
CANDIDATE = selection.Candidate(
    goal=0,
    origin="mode",
    architecture=(0, 0, 0),
    costs={"params": 1.0, "flops": 1.0},
    complexity=0.1,
    evaluation_id=None,
    recorded_loss=None,
    within_budget=True,
)
NOWHERE = "nowhere/run"
"""A run that does not exist: what is wrong beside it is told first."""


def supernet() -> supernets.Supernet:
    return supernets.BlockSupernet(SPACE, norm_batch_size=2, seed=0)


def search() -> oneshot.OneShotSearchConfig:
    return oneshot.OneShotSearchConfig(
        space=SPACE,
        data=DIGITS,
        name="search",
        storage_path="runs",
        coefficients=(0.0, 1.0),
        warmup_rounds=1,
        search_rounds=1,
        training=supernets.WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    )


BY_TYPE: dict[Any, Any] = {
    bool: False,
    int: 2,
    float: 1.5,
    str: "text",
    np.ndarray: LOSSES,
    spaces.NetworkSpace: SPACE,
    spaces.Space: SPACE,
    spaces.BlockDescription: BLOCK,
    spaces.AdditiveCost: COST,
    spaces.Cost: COST,
    spaces.Equivalence: SPACE.equivalence,
    spaces.SearchSpace: SPACE.search_space,
    core.Proposals: DRAWS,
    core.OptimizerSettings: SETTINGS,
    core.CategoryLayout: core.CategoryLayout.from_num_categories((3, 2, 3)),
    data.ImageSet: IMAGES,
    data.Images: IMAGES,
    data.DataSplits: SPLITS,
    data.DataConfig: DIGITS,
    latency.LatencyTable: TABLE,
    latency.LatencyConditions: CONDITIONS,
    latency.ProfileSettings: latency.ProfileSettings(least_passes=2, most_passes=2, max_seconds=0.0),
    supernets.WeightTraining: supernets.WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    supernets.Supernet: supernet(),
    retraining.RetrainConfig: retraining.RetrainConfig(epochs=1),
    selection.Ranking: Ranking(),
    pa.Schema: SCHEMA,
    pa.Table: pa.table({"a": [1]}, SCHEMA),
    np.random.Generator: np.random.default_rng(0),
    torch.Tensor: torch.zeros(2, 1, 8, 8),
    torch.device: torch.device("cpu"),
    torch.nn.Module: torch.nn.Linear(2, 2),
    Console: Console(file=io.StringIO()),
    collections.abc.Mapping: {},
    collections.abc.Callable: lambda *_: None,
}
BY_NAME: dict[str, Any] = {
    "run_path": NOWHERE,
    "path": NOWHERE,
    "file": "nowhere/file.json",
    "folder": "nowhere/folder",
    "directory": "nowhere/folder",
    "destination": "nowhere/shards",
    "architectures": ROWS,
    "architectures_ND": ROWS,
    "networks_ND": ROWS,
    "architecture": (0, 0, 0),
    "num_categories": (3, 2, 3),
    "losses": LOSSES,
    "complexities": LOSSES,
    "coefficients": (0.0, 1.0),
    "probs_KDC": PROBS,
    "sources_N": np.zeros(2, int),
    "log_prob_KN": np.log(np.full((2, 2), 0.5)),
    "labels": torch.zeros(2, dtype=torch.int64),
    "input_shape": (1, 8, 8),
    "image_shape": (1, 8, 8),
    "class_names": ("a", "b"),
    "remedy": "restore a copy",
    "norm_batch_size": 2,
    "device": "cpu",
    "mean": (0.5,),
    "std": (0.5,),
}


EMPTY = pd.DataFrame()
CANDIDATES = pd.DataFrame({"architecture": [(0, 1)], "rung": [1], "images": [8]})
ROWLESS = pd.DataFrame(columns=[*runs.evaluations_schema(["params"]).names, "update", "distribution"])
RUN = runs.Run(NOWHERE, {"kind": "oneshot", "costs": ["params"]}, ROWLESS, ROWLESS, EMPTY, EMPTY, None)


SMALL_PLAN = data.BatchPlan(
    batch_size=2, seed=0, shuffle=False, mean=(0.5,), std=(0.5,), device="cpu", norm_batch_size=2
)


class Pictures(Encoded):
    """Two images that were never encoded."""

    labels = np.arange(2)
    groups = None

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> bytes:
        return b"picture"

    def name(self, index: int) -> str:
        return f"{index}.png"

    def select(self, index: Any) -> "Pictures":
        return self

    def join(self, other: Any) -> "Pictures":
        return self


BY_CALL: dict[str, dict[str, Any]] = {
    "selection.SearchOutcome": {
        "ids_A": np.arange(2),
        "complexity_name": "params",
        "costs": dict(SPACE.costs),
        "search_space": SPACE.search_space,
    },
    "core.MultiDistributionOptimizer": {"num_categories": (3, 2, 3), "coefficients": (0.0, 1.0)},
    "core.ScreenedOptimizer": {"num_categories": (3, 2, 3), "coefficients": (0.0, 1.0)},
    "spaces.Variable": {"choices": ("a", "b")},
    "spaces.AdditiveCost": {"table": np.ones((3, 3))},
    "spaces.MaximumCost": {"table": np.ones((3, 3))},
    "spaces.ElasticBlock": {"layers": BLOCK.layers, "residual": True, "within": BLOCK},
    "spaces.NetworkSpace": {"stem": SPACE.stem, "positions": SPACE.positions, "head": SPACE.head},
    "spaces.Position": {"blocks": (BLOCK,)},
    "spaces.CostSlice": {"low": 0.0, "high": 1e9},
    "spaces.descend": {"start": (0, 0, 0), "score": COST},
    "spaces.elastic_blocks": {"blocks": (BLOCK,)},
    "spaces.block_from_dict": {"description": BLOCK.to_dict()},
    "spaces.cost_from_dict": {"description": COST.to_dict()},
    "spaces.space_from_dict": {"description": SPACE.to_dict()},
    "core.settings_from_dict": {"description": SETTINGS.to_dict()},
    "core.settings_of_kind": {"name": "distributions", "options": {}, "num_categories": (3, 2), "coefficients": (0.0,)},
    "core.optimizer_kind": {"name": "distributions"},
    "supernets.build_block": {"description": BLOCK, "norm": torch.nn.BatchNorm2d},
    "supernets.step_touched": {"optimizer": torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])},
    "supernets.sample_scores": {"batches": []},
    "supernets.summed_score": {"batches": []},
    "supernets.recalibrate_batch_norm": {"batches": []},
    "cluster.NoticedCheckpoints": {"device": torch.device("cpu")},
    "oneshot.RoundWorker": {"device": torch.device("cpu")},
    "core.DistributionSettings": {"coefficients": (0.0, 1.0)},
    "core.ScreenedSettings": {"coefficients": (0.0, 1.0)},
    "core.OptimizerSettings": {"coefficients": (0.0, 1.0)},
    "core.Proposals": {"log_q": -LOSSES, "sources": ROWS[:, 0], "ids": np.arange(2), "drawn_at": ROWS[:, 0]},
    "data.ImageStream": {"plan": SMALL_PLAN},
    "latency.LatencyValidation": {"readable": ("a", "b")},
    "oneshot.OneShotSearchConfig": {"coefficients": (0.0, 1.0), "space": SPACE, "data": DIGITS, "name": "search"},
    "runs.Run": dict.fromkeys(("evaluations", "distributions", "rounds", "architectures"), EMPTY)
    | {"config": RUN.config},
    "selection.OpenedRun": {"costs": dict(SPACE.costs), "run": RUN},
    "selection.rung_counts": {"candidates": CANDIDATES},
    "selection.spent_text": {"candidates": CANDIDATES},
    "selection.Family": {"architectures": EMPTY, "candidates": EMPTY},
    "data.BatchPlan": {"batch_size": 4, "norm_batch_size": 2, "seed": 0, "shuffle": False},
    "data.read_square": {"index": 0, "size": 8, "channels": 1},
    "data.ImageSet": {"images": IMAGES.images, "labels": IMAGES.labels},
    "runs.RunRecord": {"config": search().to_dict()},
    "runs.config_metadata": {"config": search().to_dict()},
    "runs.ConfigSpace": {"template": {"a": 1}, "variables": (), "conditions": (), "functions": {}, "paths": ()},
    "runs.write_config": {"config": search().to_dict()},
    "runs.best_subset": {"size": 1, "reference": (2.0, 2.0)},
    "selection.check_prior": {"names": ("naswot",)},
    "selection.make_parts": {"names": ("early_depth",)},
    "selection.scaled_ranks": {"values": LOSSES},
    "storage.encode_plain": {"value": {"a": 1}},
    "storage.write_plain": {"value": {"a": 1}},
    "storage.decode_plain": {"text": "{}"},
    "storage.write_atomic": {"data": b"content"},
    "spaces.ModelSpace": {"inputs": "float32[1, 8, 8]", "outputs": "float32[10]"},
    "choices.model_space": {"inputs": (1, 8, 8)},
    "tasks.Metric": {"function": "accuracy"},
    "tune.MultiNASSearch": {"complexity": "size", "num_distributions": 2, "record_path": "runs/tune"},
    "retraining.NetworkTraining": {"loss": torch.nn.functional.cross_entropy, "device": torch.device("cpu")},
    "oneshot.run_search": {"config": search()},
    "latency.validate_table": {"num_networks": 2},
}
BY_TYPE |= {
    oneshot.OneShotSearchConfig: search(),
    tasks.Task: tasks.Task(),
    tasks.Scorer: tasks.Scorer(tasks.Task()),
    pd.DataFrame: EMPTY,
    runs.Run: RUN,
    core.Optimizer: core.make_optimizer(SETTINGS, seed=0),
    selection.PriorPart: selection.make_parts(["early_depth"], SPACE)[0],
    torch.nn.Parameter: torch.nn.Parameter(torch.zeros(2)),
    Encoded: Pictures(),
}
CHOICES = "its package checks by itself"
RAY = "it is made within a Ray worker or by Ray"
WITHOUT_CHECKS = {
    **dict.fromkeys(("choices.Choice", "choices.DepthChoice", "choices.WidthChoice", "choices.Width"), CHOICES),
    **dict.fromkeys(("choices.ElasticBatchNorm2d", "choices.ElasticConv2d", "choices.ElasticLayerNorm"), CHOICES),
    **dict.fromkeys(("choices.ElasticLinear", "choices.Measured", "choices.ModelMeter", "choices.Places"), CHOICES),
    "choices.TimedParts": CHOICES,
    **dict.fromkeys(("cluster.GroupTrainer", "cluster.LastingErrorsEnd", "cluster.SearchMetrics"), RAY),
    "cluster.PlainTable": "it takes what a table of rich takes",
    "cluster.SpotWatch": "it starts a thread",
    **dict.fromkeys(("cluster.HeadWatch", "cluster.Interrupts"), RAY),
    "selection.CandidateEvaluator": RAY,
    **dict.fromkeys(("cluster.Following", "cluster.SideCallback"), RAY),
    "cluster.SideMatters": RAY,
    "core.CategoryLayout": "from_num_categories makes it",
    **dict.fromkeys(("runs.Choice", "runs.Drawn", "runs.Number"), "tune's reading of a space makes it"),
    "data.SampleSet": "what it reads is checked",
    "supernets.Separate": "Supernet.together makes it",
    "tasks.MeanScore": "it is a row of numbers",
    "selection.Score": "it is a row of numbers, checked by `choose`",
    "selection.SuccessiveHalving": "it changes while it is used",
    "storage.Location": "storage.resolve makes and checks it",
    "oneshot.Outbox": "it starts empty",
    "oneshot.RoundWorker": "it trains",
    "retraining.NetworkTraining": "it trains",
    **dict.fromkeys((f"settings.{name}" for name in ("AsGiven", "Flag", "InfinityAllowed")), "a mark"),
    **dict.fromkeys((f"settings.{name}" for name in ("OneOf", "ReadBy", "Unchecked")), "a mark"),
}
"""Classes of the fronts whose constructors are not walked, and why."""
BY_THEMSELVES = (
    "core.MultiDistributionOptimizer",
    "core.ScreenedOptimizer",
    "core.Proposals",
    "core.OptimizerSettings",
    "spaces.block_from_dict",
    "spaces.cost_from_dict",
    "spaces.space_from_dict",
    "storage.resolve",
    "storage.read_bytes",
    "storage.read_plain",
    "storage.read_yaml",
)
"""Names that check what they are given without the decorators of settings."""
