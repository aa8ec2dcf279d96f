import sys

import pytest
import ray.cloudpickle

from multinas_ray.cluster import load_module, load_object
from multinas_ray.errors import ConfigError


def test_code_by_name(tmp_path):
    file = tmp_path / "spaces_of_test_user_code.py"
    file.write_text("def mine(): return 3")
    assert load_object(f"{file}:mine")() == 3
    assert load_module(str(file)) is load_module(str(file))
    assert load_object("json:dumps")([]) == "[]"


def test_code_of_this_package_is_not_sent_to_workers_who_have_it():
    cost = load_object("multinas_ray.choices:peak_memory")
    assert ray.cloudpickle.loads(ray.cloudpickle.dumps(cost)) is cost


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json", "named as MODULE:NAME"),
        (":dumps", "named as MODULE:NAME"),
        ("json:nothing", "json defines no 'nothing'"),
        ("no_such_module:thing", "no_such_module.*cannot be imported"),
        ("no_such_file.py:thing", "no file no_such_file.py"),
    ],
)
def test_a_wrong_name_is_told(name, message):
    with pytest.raises(ConfigError, match=message):
        load_object(name)


def test_a_broken_file_is_told_and_not_kept(tmp_path):
    file = tmp_path / "broken_of_test_user_code.py"
    file.write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ConfigError, match="ZeroDivisionError"):
            load_module(str(file))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\nsys.exit(0)", "SystemExit: 0 at .*:2.*__main__"),  # a program, which would end the command
        ("raise RuntimeError('first\\nsecond')", r"RuntimeError: first at .*:1\): correct it"),
        ("import no_such_package", r"No module named 'no_such_package' at .*:1\): correct it"),
        ("def (", "SyntaxError.*: correct it"),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_module_that_ends_or_raises_is_told_with_its_line(tmp_path, monkeypatch, text, told, as_file):
    (tmp_path / "raising_of_test_user_code.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    with pytest.raises(ConfigError, match=told):
        load_module("raising_of_test_user_code" + ".py" * as_file)


def test_a_file_with_the_name_of_a_module_of_python_is_told(tmp_path):
    (tmp_path / "time.py").write_text("")
    with pytest.raises(ConfigError, match="another module named 'time' is imported already"):
        load_module(str(tmp_path / "time.py"))
