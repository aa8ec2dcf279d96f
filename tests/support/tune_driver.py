"""A Tune pipeline in a process of its own, which a test may kill.

`python -m tests.support.tune_driver FOLDER start 40` takes 40 samples; `resume` in place of `start` goes on from Tune's
own snapshot. The last line printed is `ENDED` with the number of results.
"""

import sys
import time
from typing import Any

from ray import tune

from multinas_ray.tune import MultiNASSearch
from tests.support.local_ray import local_ray


def trial(config: dict[str, Any]) -> None:
    time.sleep(0.2)
    tune.report({"loss": 1.0 / (config["a"] + config["b"]), "size": float(config["a"] + config["b"])})


def main(folder: str, mode: str, num_samples: str) -> None:
    with local_ray():
        run(folder, mode, num_samples)


def run(folder: str, mode: str, num_samples: str) -> None:
    if mode == "resume":
        tuner = tune.Tuner.restore(f"{folder}/run", trainable=trial)
    else:
        search = MultiNASSearch(complexity="size", num_distributions=2, seed=0)
        tuner = tune.Tuner(
            trial,
            param_space={"a": tune.choice([1, 2, 3]), "b": tune.randint(0, 5)},
            tune_config=tune.TuneConfig(
                search_alg=search,
                num_samples=int(num_samples),
                metric="loss",
                mode="min",
                max_concurrent_trials=3,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, name="run", verbose=0),
        )
    print("ENDED", len(tuner.fit()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
