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
