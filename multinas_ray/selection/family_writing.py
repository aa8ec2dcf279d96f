"""Writing a family: its two tables, and the architecture of each network as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.runs import (
    ARCHITECTURE_FILE,
    ARCHITECTURES_FILE,
    CANDIDATES_FILE,
    NETWORKS_FOLDER,
    WEIGHTS_FILE,
    RetrainingRecord,
    Run,
    architectures_schema,
    candidates_schema,
    config_metadata,
    network_path,
    retrained_columns,
)
from multinas_ray.selection.choice import Choice, ChosenFamily
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import Architecture, SearchOutcome
from multinas_ray.storage import make_table, write_parquet


@dataclass(frozen=True, eq=False)
class FamilyWriter:
    """Writes a family, in the place of an earlier one if there is one."""

    path: str
    """The family's folder."""
    run: Run
    outcome: SearchOutcome
    """What the family was chosen from."""
    space_name: str
    family: ChosenFamily
    trainings: Mapping[int, RetrainingRecord]
    """The trainings in that folder by number of the network, see `load_trainings`. Unlike the table of an earlier
    family, their files outlive a selection that was killed."""

    def dropped(self) -> list[int]:
        """Numbers of networks whose trainings would be lost, since another network or none takes their place."""
        stays = self._architectures()
        return [network for network, record in self.trainings.items() if stays.get(network) != record.architecture]

    def clear(self) -> None:
        """Delete the folders of networks that do not stay.

        The table of the networks is deleted first. So there is no family, rather than a wrong one, until `write`.
        """
        place = storage.resolve(self.path)
        stays = self._architectures()
        storage.delete_file(place.join(ARCHITECTURES_FILE))
        for name in storage.list_folders(place.join(NETWORKS_FOLDER)):
            if name.isdecimal():
                folder, network = place.join(NETWORKS_FOLDER, name), int(name)
                training = self.trainings.get(network)
                found = _described_in(folder) if training is None else training.architecture
                if found is None or stays.get(network) != found:
                    storage.delete_folder(folder)

    def write(self, test_accuracies: Sequence[float]) -> None:
        """Write the tables and the architectures; the weights of the networks are in their folders already.

        Args:
            test_accuracies: accuracy of each network on the test images, with the supernet's weights.
        """
        place, metadata, costs = storage.resolve(self.path), config_metadata(self.run.config), list(self.outcome.costs)
        for each in self.family.networks:
            folder = place.join(network_path(each.network))
            storage.make_folder(folder)
            storage.write_atomic(folder.join(ARCHITECTURE_FILE), self._described(each).encode())
        considered = self._considered_columns()
        write_parquet(place.join(CANDIDATES_FILE), make_table(candidates_schema(costs), considered, metadata))
        chosen = {**self._chosen_columns(), "supernet_test_accuracy": list(test_accuracies)}
        write_parquet(place.join(ARCHITECTURES_FILE), make_table(architectures_schema(costs), chosen, metadata))

    def _architectures(self) -> dict[int, Architecture]:
        return {each.network: each.candidate.architecture for each in self.family.networks}

    def _described(self, network: Choice) -> str:
        architecture = network.candidate.architecture
        used = self.outcome.equivalence.used(architecture)
        chosen = self.outcome.search_space.decode(architecture).items()
        blocks = {name: label for (name, label), is_used in zip(chosen, used, strict=True) if is_used}
        described = {"space": self.space_name, "indices": list(architecture), "blocks": blocks}
        return json.dumps(described, indent=2)

    def _considered_columns(self) -> dict[str, Any]:
        choices = self.family.choices
        return {
            "network": [each.network for each in choices],
            "recorded_loss": [each.candidate.recorded_loss for each in choices],
            "rung": [each.rung for each in choices],
            "images": [each.score.images for each in choices],
            "loss": [each.score.loss for each in choices],
            "accuracy": [each.score.accuracy for each in choices],
            "objective": [each.objective for each in choices],
            "combined_rank": [each.combined_rank for each in choices],
            "within_budget": [each.candidate.within_budget for each in choices],
            "chosen": [each.is_chosen for each in choices],
            "reason": [each.reason for each in choices],
            **self._shared_columns(choices),
        }

    def _chosen_columns(self) -> dict[str, Any]:
        networks = self.family.networks
        goals = self.family.goals[: len(networks)]
        distributions = [self.outcome.distributions_for(goal)[0] for goal in goals]
        newest = self.run.distributions[self.run.distributions["update"] == self.run.distributions["update"].max()]
        mode_probabilities = newest.sort_values("distribution")["mode_probability"].to_numpy()
        return {
            "network": [each.network for each in networks],
            "distribution": distributions,
            "coefficient": [goal.coefficient for goal in goals],
            "target": [self._target(goal) for goal in goals],
            "limits": [json.dumps(dict(goal.limits)) if goal.limits else None for goal in goals],
            **self._shared_columns(networks),
            "mode_probability": [float(mode_probabilities[k]) for k in distributions],
            "supernet_loss": [each.score.loss for each in networks],
            "supernet_accuracy": [each.score.accuracy for each in networks],
            "weights_path": [f"{network_path(each.network)}/{WEIGHTS_FILE}" for each in networks],
            **self._retrained_columns(networks),
        }

    def _target(self, goal: Goal) -> float | None:
        """The limit of the complexity in its own unit; None if the goal has none."""
        return goal.limits.get(self.run.config["complexity"]["name"])

    def _shared_columns(self, choices: Sequence[Choice]) -> dict[str, Any]:
        describe, used = self.outcome.search_space.describe, self.outcome.equivalence.used
        candidates = [each.candidate for each in choices]
        return {
            "origin": [each.origin for each in candidates],
            "architecture": [list(each.architecture) for each in candidates],
            "architecture_readable": [describe(each.architecture, used(each.architecture)) for each in candidates],
            **{name: [each.costs[name] for each in candidates] for name in self.outcome.costs},
            "complexity": [each.complexity for each in candidates],
            "evaluation_id": [each.evaluation_id for each in candidates],
        }

    def _retrained_columns(self, networks: Sequence[Choice]) -> dict[str, Any]:
        """The results of retraining, for networks that stay."""
        rows = []
        for each in networks:
            training = self.trainings.get(each.network)
            stays = training is not None and training.architecture == each.candidate.architecture
            rows.append(retrained_columns(each.network, training.result if training is not None and stays else None))
        return {name: [row[name] for row in rows] for name in retrained_columns(0, None)}


def _described_in(folder: storage.Location) -> Architecture | None:
    """The architecture that the folder of a network describes; None if it describes none."""
    file = folder.join(ARCHITECTURE_FILE)
    if not storage.exists(file):
        return None
    try:
        return tuple(storage.read_plain(file)["indices"])
    except (StateError, KeyError, TypeError):
        return None
