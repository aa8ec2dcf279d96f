"""A transformer foretells characters of `experiments/manual.py`: its depth, and heads and features of each block.

python -m experiments.own_transformer
"""

from functools import partial

import torch
from torch import Tensor, nn

from experiments.manual import CHARACTERS, WINDOW, manual
from multinas_ray.choices import DepthChoice, ElasticLinear, WidthChoice, model_space
from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import register_model
from multinas_ray.supernets import WeightTraining

DIM, HEAD = 32, 8


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
        normed, layers = self.norm(tokens), (self.query, self.key, self.value)
        query, key, value = (layer(normed).unflatten(2, (-1, HEAD)).transpose(1, 2) for layer in layers)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        tokens = tokens + self.join(attended.transpose(1, 2).flatten(2))
        return torch.add(tokens, self.perceptron(tokens))


@register_model
class Transformer(nn.Module):
    """Characters (B, T) to logits of those that follow (B, CHARACTERS, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, DIM)
        self.places = nn.Parameter(0.02 * torch.randn(WINDOW, DIM))
        self.blocks = DepthChoice("depth", [partial(Block, f"block{n}") for n in range(1, 5)], [1, 2, 4])
        self.head = nn.Sequential(nn.LayerNorm(DIM), nn.Linear(DIM, CHARACTERS))

    def forward(self, codes: Tensor) -> Tensor:
        """Each token sees those before it."""
        logits: Tensor = self.head(self.blocks(self.characters(codes) + self.places))
        return logits.transpose(1, 2)


def transformer_config(options: ExperimentOptions) -> OneShotSearchConfig:
    """The search for three networks."""
    space = model_space(Transformer, torch.zeros(WINDOW, dtype=torch.int64))
    return OneShotSearchConfig(
        space=space,
        data=DataConfig(source=manual.__name__),
        name="transformer",
        complexity="flops",
        targets=[1e6, 2e6, space.costs["flops"].maximum],
        warmup_rounds=600,
        search_rounds=150,
        training=WeightTraining(batch_size=128, validation_batch_size=256, norm_batch_size=64, learning_rate=0.5),
    )


main = Experiment(description=__doc__, config_of=transformer_config, options=ExperimentOptions).run

if __name__ == "__main__":
    raise SystemExit(main())
