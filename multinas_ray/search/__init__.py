"""One call that ties it together: a configuration in, K networks out."""

from multinas_ray.search.config import OneShotSearchConfig
from multinas_ray.search.export import export_networks
from multinas_ray.search.retrain import Trackers, retrain_networks
from multinas_ray.search.run import run_search
from multinas_ray.search.select import select_networks
from multinas_ray.train.recipe import RetrainConfig
from multinas_ray.train.settings import WeightTraining

__all__ = [
    "OneShotSearchConfig",
    "RetrainConfig",
    "Trackers",
    "WeightTraining",
    "export_networks",
    "retrain_networks",
    "run_search",
    "select_networks",
]
