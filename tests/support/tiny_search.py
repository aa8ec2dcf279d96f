"""A search that takes seconds: the digits, three positions, rounds of some 30 ms. Runs as a script too."""

from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, mbconv, skip
from multinas_ray.supernets import WeightTraining


def tiny_space() -> NetworkSpace:
    return NetworkSpace(
        name="tiny",
        input_shape=(1, 8, 8),
        stem=Block("stem", (ConvLayer(1, 8, kernel_size=3, stride=2, activation="relu"),)),
        positions=(
            Position("a", (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 4), skip())),
            Position("b", (mbconv(8, 16, 3, 2, stride=2), mbconv(8, 16, 3, 4, stride=2))),
            Position("c", (mbconv(16, 16, 3, 2), mbconv(16, 16, 3, 4), skip())),
        ),
        head=Head(in_channels=16, num_classes=10),
    )


def tiny_config(options: ExperimentOptions) -> OneShotSearchConfig:
    return OneShotSearchConfig(
        space=tiny_space(),
        data=DataConfig(source="digits"),
        name="tiny",
        coefficients=(0.0, 0.1, 1.0),
        warmup_rounds=5,
        search_rounds=30,
        training=WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
        checkpoint_interval_seconds=2.0,
        threads_per_worker=1,
        blocks_in_flight=1,  # the process of another trial would take longer to start than to work
    )


TINY = Experiment(description="A search that takes seconds.", config_of=tiny_config, options=ExperimentOptions)


if __name__ == "__main__":
    raise SystemExit(TINY.run())
