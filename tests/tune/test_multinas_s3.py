"""A MultiNASSearch whose record lies in an object store: a real S3 client against moto's server."""

import os
import pickle

import boto3
import pytest
from moto.server import ThreadedMotoServer
from ray import tune

from multinas_ray.runs import load_run, verify_run
from multinas_ray.tune import MultiNASSearch
from tests.support.local_ray import local_ray
from tests.support.pipeline import SPACE, Pipeline, loss_of, result_of

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def bucket():
    """Returns a function that gives the URI of a folder in a bucket."""
    before = dict(os.environ)
    os.environ.update(CREDENTIALS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="runs")
    yield lambda folder: f"s3://runs/{folder}?scheme=http&endpoint_override={host}:{port}"
    server.stop()
    os.environ.clear()
    os.environ.update(before)


class Stored(Pipeline):
    """Its record is where its URI says."""

    def __init__(self, uri):
        super().__init__(uri)
        self.path = uri


@pytest.mark.slow
def test_every_result_is_in_the_bucket_at_once_and_a_restore_goes_on_there(bucket, tmp_path):
    uri = bucket("by-hand")
    pipeline = Stored(uri)
    for count in range(1, 4):
        pipeline.run(1)
        assert len(load_run(uri).evaluations) == count
    pipeline.run(4)
    pipeline.search.save(str(tmp_path / "state"))
    pipeline.run(2)  # after the snapshot
    again = pickle.loads(pickle.dumps(pipeline.search))
    again.restore(str(tmp_path / "state"))
    config = again.suggest("new")
    again.on_trial_complete("new", result=result_of(config))
    assert again.error is None
    rows = load_run(uri).evaluations
    assert len(rows) == 10
    assert rows["trial_id"].iloc[-1] == "new"
    assert len(again.best_configs()) == 2
    found = verify_run(uri)
    assert found.holds, found.summary()


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_tune_and_the_record_share_a_bucket_and_failed_trials_are_run_again(bucket, tmp_path):
    """Tune's own storage is in the bucket too; `restart_errored` runs failed trials under new ids, unasked."""
    repaired = tmp_path / "repaired"

    def train(config):
        if config["a"] == 2 and not repaired.exists():
            raise RuntimeError("not yet")
        tune.report(result_of(config))

    points = [{"a": a, "net": {"b": 0, "c": 2}} for a in (1, 2)]
    search = MultiNASSearch(complexity="size", points_to_evaluate=points)
    with local_ray():
        tuner = tune.Tuner(
            train,
            param_space=SPACE,
            tune_config=tune.TuneConfig(search_alg=search, metric="loss", mode="min", num_samples=2),
            run_config=tune.RunConfig(storage_path=bucket("tune"), name="run", verbose=0),
        )
        tuner.fit()
        record = search.record_path
        assert record.startswith(bucket("tune/run/multinas/").partition("?")[0])
        failed = load_run(record).evaluations.query("loss == inf")
        assert failed["id"].tolist() == [-2]
        repaired.touch()
        uri = bucket("tune").replace("?", "/run?")
        results = tune.Tuner.restore(uri, trainable=train, restart_errored=True).fit()
    assert results.num_errors == 0
    rows = load_run(record).evaluations
    assert rows["id"].tolist() == [-1, -2, -3]
    assert rows["architecture"].iloc[2] == rows["architecture"].iloc[1]
    assert rows["loss"].iloc[2] == loss_of(points[1])
    assert rows["trial_id"].is_unique
    assert verify_run(record).holds
