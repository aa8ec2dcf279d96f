"""Plays Tune's part to a MultiNASSearch, without Ray."""

import pickle
from itertools import count

from ray import tune

from multinas_ray.runs import load_run, verify_run
from multinas_ray.tune import MultiNASSearch

SPACE = {"a": tune.choice([1, 2, 3]), "net": {"b": tune.choice([0, 1]), "c": tune.choice([0, 2, 4]), "fixed": 7}}
FINISHED = "FINISHED"


def loss_of(config):
    return 1.0 / (1 + config["a"] + config["net"]["c"]) + 0.3 * config["net"]["b"]


def size_of(config):
    return float(10 * config["a"] + config["net"]["c"])


def sum_of(config):
    return float(sum(config.values()))


def result_of(config):
    return {"loss": loss_of(config), "size": size_of(config)}


class Pipeline:
    """Plays Tune's part."""

    def __init__(self, path, space=SPACE, mode="min", metric="loss", **arguments):
        arguments = {"complexity": "size", "num_distributions": 2, "seed": 0, **arguments}
        self.path, self.numbers, self.running = str(path), count(), {}
        self.search = MultiNASSearch(record_path=str(path), **arguments)
        assert self.search.set_search_properties(metric, mode, space)

    def start(self):
        trial_id = f"t{next(self.numbers)}"
        config = self.search.suggest(trial_id)
        if not isinstance(config, dict):
            return config
        self.running[trial_id] = config
        return trial_id

    def end(self, trial_id, result="computed", error=False):
        config = self.running.pop(trial_id)
        result = result_of(config) if result == "computed" else result
        self.search.on_trial_complete(trial_id=trial_id, result=result, error=error)
        assert self.search.error is None
        return config

    def run(self, num_trials):
        return [self.end(self.start()) for _ in range(num_trials)]

    @property
    def rows(self):
        return load_run(self.path).evaluations

    def restored(self, tmp_path, **changes):
        """Saved, pickled and restored, as Tune does after a crash."""
        file = str(tmp_path / "state.json")
        self.search.save(file)
        return self.taken_up(file)

    def taken_up(self, file=None):
        other = object.__new__(Pipeline)
        other.__dict__.update(self.__dict__)
        other.search, other.running = pickle.loads(pickle.dumps(self.search)), dict(self.running)
        if file is not None:
            other.search.restore(file)
        return other


def holds(pipeline):
    found = verify_run(pipeline.path)
    assert found.holds, found.summary()
    return found
