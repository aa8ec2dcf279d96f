"""Search spaces in the wild: those of Ray's shipped examples, the Hugging Face default, PyTorch's tutorial, and two of
the usual mixed kind. All of them are taken, and every configuration comes back."""

# ruff: noqa: NPY002  (the spaces stand as they are shipped)

import json
from typing import Any

import numpy as np
import pytest
from ray import tune

from multinas_ray.core import INACTIVE, MultiDistributionOptimizer
from multinas_ray.runs import ConfigSpace
from multinas_ray.tune.domains import config_space

U, L, C, R, G, S = tune.uniform, tune.loguniform, tune.choice, tune.randint, tune.grid_search, tune.sample_from
SPACES: dict[str, dict[str, Any]] = {
    "async_hyperband_example": {"steps": 100, "width": U(10, 100), "height": U(0, 100)},
    "ax_example": {f"x{i}": U(0.0, 1.0) for i in range(1, 7)},
    "bayesopt_example": {"steps": 100, "width": U(0, 20), "height": U(-100, 100)},
    "bohb_example": {"iterations": 100, "width": U(0, 20), "height": U(-100, 100), "activation": C(["relu", "tanh"])},
    "cifar10_pytorch": {
        "l1": S(lambda _: 2 ** np.random.randint(2, 9)),
        "l2": S(lambda _: 2 ** np.random.randint(2, 9)),
        "lr": L(1e-4, 1e-1),
        "batch_size": C([2, 4, 8, 16]),
    },
    "custom_checkpointing_with_callback": {"width": R(10, 100), "height": L(10, 100)},
    "custom_func_checkpointing": {"width": R(10, 100), "height": L(10, 100)},
    "hyperband_example": {"width": R(10, 90), "height": R(0, 100)},
    "hyperband_function_example": {"height": U(0, 100)},
    "lightgbm_example": {
        "objective": "binary",
        "metric": ["binary_error", "binary_logloss"],
        "boosting_type": G(["gbdt", "dart"]),
        "num_leaves": R(10, 1000),
        "learning_rate": L(1e-8, 1e-1),
    },
    "logging_example": {"width": R(10, 100), "height": L(10, 100)},
    "mlflow_example": {"width": R(10, 100), "height": R(0, 100)},
    "mlflow_ptl / mnist_ptl_mini": {
        "layer_1": C([32, 64, 128]),
        "layer_2": C([64, 128, 256]),
        "lr": L(1e-4, 1e-1),
        "batch_size": C([32, 64, 128]),
    },
    "mnist_pytorch": {"lr": L(1e-4, 1e-2), "momentum": U(0.1, 0.9)},
    "mnist_pytorch_trainable": {"lr": U(0.001, 0.1), "momentum": U(0.1, 0.9)},
    "nevergrad_example / optuna_example": {
        "steps": 100,
        "width": U(0, 20),
        "height": U(-100, 100),
        "activation": C(["relu", "tanh"]),
    },
    "pbt_tune_cifar10_with_keras": {
        "lr": G([1e-4, 1e-5]),
        "decay": S(lambda c: c["lr"] / 100),
        "dropout": G([0.25, 0.5]),
    },
    "tf_mnist_example": {"hiddens": G([32, 64, 128])},
    "tune_basic_example": {"steps": 100, "width": U(0, 20), "height": U(-100, 100), "activation": G(["relu", "tanh"])},
    "tune_mnist_keras": {"threads": 2, "lr": U(0.001, 0.1), "momentum": U(0.1, 0.9), "hidden": R(32, 512)},
    "xgboost_dynamic_resources": {
        "max_depth": 9,
        "min_child_weight": G([2, 3]),
        "subsample": G([0.8, 0.9]),
        "colsample_bynode": G([0.8, 0.9]),
    },
    "xgboost_example": {
        "objective": "binary:logistic",
        "eval_metric": ["logloss", "error"],
        "max_depth": R(1, 9),
        "min_child_weight": C([1, 2, 3]),
        "subsample": U(0.5, 1.0),
        "eta": L(1e-4, 1e-1),
    },
    "pbt_dcgan": {"netG_lr": C([0.0001, 0.0002, 0.0005]), "netD_lr": C([0.0001, 0.0002, 0.0005])},
    "pbt_transformers (HF)": {"per_device_train_batch_size": 32, "num_train_epochs": C([2, 3, 4, 5])},
    "HF Trainer default_hp_space_ray": {
        "learning_rate": L(1e-6, 1e-4),
        "num_train_epochs": C(list(range(1, 6))),
        "seed": U(1, 40),
        "per_device_train_batch_size": C([4, 8, 16, 32, 64]),
    },
    "pytorch tutorial (l1,l2,lr,batch)": {
        "l1": C([2**i for i in range(9)]),
        "l2": C([2**i for i in range(9)]),
        "lr": L(1e-4, 1e-1),
        "batch_size": C([2, 4, 8, 16]),
    },
    "conditional (choice of dicts)": {
        "opt": C([{"name": "sgd", "momentum": U(0, 1)}, {"name": "adam"}]),
        "depth": C([1, 2, 3]),
    },
    "NAS + lr + wd + dropout": {
        "depth": C([1, 2, 3]),
        "width": C([16, 32, 64]),
        "lr": L(1e-4, 1e-1),
        "wd": L(1e-6, 1e-2),
        "dropout": U(0, 0.5),
    },
}


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_taken_and_its_configurations_come_back(name):
    space = config_space(SPACES[name])
    assert not space.layout.outside(space.random(100, np.random.default_rng(1))).any()
    again = ConfigSpace.from_plain(json.loads(json.dumps(space.to_plain())))
    optimizer = MultiDistributionOptimizer(coefficients=[0.1, 1.0], seed=0, **space.for_optimizer())
    for architecture in optimizer.ask(20).architectures.tolist():
        drawn = space.draw(architecture)
        config = space.decode(architecture, drawn)
        assert set(config) == set(SPACES[name])
        known = space.decode(architecture)
        assert again.decode(architecture) == known
        assert space.decode(space.encode(known)) == known
        assert space.key(space.encode(known)) == space.key(architecture)
        for variable, place in zip(space.variables, architecture, strict=True):
            assert place == INACTIVE or 0 <= place < variable.num_values
