"""Where progress is shown."""

import importlib.util
import warnings

import pytest

from multinas_ray.cluster import counted_progress, standard_console


@pytest.mark.parametrize(("has_widgets", "is_plain"), [(True, False), (False, True)])
def test_a_notebook_without_widgets_gets_plain_lines(
    has_widgets: bool, is_plain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if has_widgets else None)
    console = standard_console()
    assert console.is_jupyter is not is_plain
    if is_plain:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # rich warns that it shows nothing
            with counted_progress(console) as progress:
                progress.update(progress.add_task("work", total=3), completed=3)
        assert "3/3" in capsys.readouterr().out
