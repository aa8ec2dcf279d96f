from pathlib import Path

import pytest

from experiments.parts.settings import SETTINGS_FILE, keep_settings
from multinas_ray.errors import ConfigError


def test_a_folder_holds_results_of_one_kind(tmp_path: Path) -> None:
    out = tmp_path / "results"
    keep_settings({"epochs": 10, "rate": 0.2}, out)
    before = (out / SETTINGS_FILE).read_bytes()
    keep_settings({"epochs": 10, "rate": 0.2}, out)
    with pytest.raises(ConfigError, match="epochs 10, now 3"):
        keep_settings({"epochs": 3, "rate": 0.2}, out)
    with pytest.raises(ConfigError, match=r"momentum None, now 0\.9"):  # of an earlier version
        keep_settings({"epochs": 10, "rate": 0.2, "momentum": 0.9}, out)
    assert (out / SETTINGS_FILE).read_bytes() == before
