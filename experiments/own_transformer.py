"""A small vision transformer: its depth, and heads and hidden features of each block.

python -m experiments.own_transformer
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from multinas_ray.choices import DepthChoice, ElasticLinear, WidthChoice, model_space
from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import register_model
from multinas_ray.supernets import WeightTraining

DIM, HEAD, PATCH = 32, 8, 2


class Block(nn.Module):
    """Attention with as many heads as are chosen, then a perceptron of chosen width; tokens (B, T, 32) to the same."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.heads = WidthChoice(f"{name}_heads", [HEAD, 2 * HEAD, 4 * HEAD])
        hidden = WidthChoice(f"{name}_hidden", [DIM // 2, 2 * DIM, 4 * DIM])
        self.norm = nn.LayerNorm(DIM)
        self.query, self.key, self.value = (ElasticLinear(DIM, self.heads) for _ in range(3))
        self.join = ElasticLinear(self.heads, DIM)
        widen, narrow = ElasticLinear(DIM, hidden), ElasticLinear(hidden, DIM)
        self.perceptron = nn.Sequential(nn.LayerNorm(DIM), widen, nn.GELU(), narrow)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens with what attention and perceptron add."""
        layers = (self.query, self.key, self.value)
        query, key, value = (layer(self.norm(tokens)).unflatten(2, (-1, HEAD)).transpose(1, 2) for layer in layers)
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.join(attended)
        output: Tensor = tokens + self.perceptron(tokens)
        return output


@register_model
class Transformer(nn.Module):
    """Images (B, channels, size, size) to logits (B, classes)."""

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, DIM, PATCH, PATCH)
        self.places = nn.Parameter(0.02 * torch.randn((size // PATCH) ** 2, DIM))
        self.blocks = DepthChoice("depth", [partial(Block, f"block{n}") for n in range(1, 5)], [1, 2, 4])
        self.head = nn.Sequential(nn.LayerNorm(DIM), nn.Linear(DIM, classes))

    def forward(self, images: Tensor) -> Tensor:
        """The logits of the mean of the tokens."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.head(self.blocks(tokens).mean(1))
        return logits


def transformer_config(options: ExperimentOptions) -> OneShotSearchConfig:
    """The search for three networks for the digits of scikit-learn."""
    space = model_space(Transformer, (1, 8, 8), arguments={"channels": 1, "size": 8, "classes": 10})
    return OneShotSearchConfig(
        space=space,
        data=DataConfig(source="digits"),
        name="transformer",
        targets=[8_000, 20_000, space.costs["params"].maximum],
        warmup_rounds=600,
        search_rounds=150,
        training=WeightTraining(batch_size=128, validation_batch_size=256, norm_batch_size=64, learning_rate=0.05),
    )


main = Experiment(description=__doc__, config_of=transformer_config, options=ExperimentOptions).run

if __name__ == "__main__":
    raise SystemExit(main())
