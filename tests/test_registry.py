"""Names and the classes behind them."""

import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.registry import Registry


def made_in(module: str) -> type:
    return type("Made", (), {"__module__": module})


def test_a_class_is_found_by_its_name() -> None:
    registry: Registry[type] = Registry("toy")
    registry.add("int", int)
    assert registry.find("int") is int
    assert registry.names == ["int"]
    for name in ("float", None, ["int"]):
        with pytest.raises(ConfigError, match=r"no toy is registered by the name .*; known are int\. Import"):
            registry.find(name)


def test_the_packages_own_are_imported_when_they_are_asked_for() -> None:
    registry: Registry[type] = Registry("toy", {"lazy": "tests.support.lazy_toy"})
    assert registry.names == ["lazy"]
    with pytest.raises(ModuleNotFoundError):
        registry.find("lazy")
    with pytest.raises(ConfigError, match=r"a toy lazy is registered already, by tests\.support\.lazy_toy; choose"):
        registry.add("lazy", made_in("elsewhere"))
    own = made_in("tests.support.lazy_toy")
    registry.add("lazy", own)
    assert registry.find("lazy") is own


def test_a_module_imported_anew_replaces_its_classes() -> None:
    registry: Registry[type] = Registry("toy")
    registry.add("mine", made_in("a"))
    again = made_in("a")
    registry.add("mine", again)
    assert registry.find("mine") is again
    with pytest.raises(ConfigError, match="a toy mine is registered already, by a; choose another name"):
        registry.add("mine", made_in("b"))
