"""A strategy is one file; a third party's is one entry point; a wrong name is told what there is."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from watchword import registry as registry_module
from watchword.defenses.base import DEFENSES, Defense
from watchword.errors import UnknownNameError, UsageError
from watchword.registry import Registry, did_you_mean

PLUGIN = """
from dataclasses import dataclass
from watchword.defenses.base import Defense
from watchword.defenses.backdoor_align import BackdoorAlign

@dataclass(frozen=True)
class Shield(Defense):
    strength: int = 1
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package of defenses, empty but for helpers."""
    folder = tmp_path / "shields"
    folder.mkdir()
    for name in ("__init__", "_helper", "base"):
        (folder / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name == "shields" or name.startswith("shields.")]:
        del sys.modules[name]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Defense]]:
    """A defense of somebody else's distribution, by entry point."""
    plugin = types.ModuleType("acme_shield")
    monkeypatch.setitem(sys.modules, "acme_shield", plugin)
    exec(compile(PLUGIN, "acme_shield", "exec"), vars(plugin))
    points = EntryPoints(
        EntryPoint(name, value, "watchword.defenses")
        for name, value in {
            "acme-shield": "acme_shield:Shield",
            "no-class": "acme_shield:dataclass",
            "gone": "acme_gone:Shield",
            "none": "acme_shield:Shield",
        }.items()
    )
    monkeypatch.setattr(registry_module, "entry_points", points.select)
    registry_module._installed.cache_clear()
    yield plugin.Shield
    registry_module._installed.cache_clear()


def test_one_new_file_is_one_new_strategy(package: Path) -> None:
    shields = Registry("shield", Defense, "shields")
    assert shields.names() == []
    (package / "oak.py").write_text(PLUGIN)
    assert shields.names() == ["oak"]
    assert "shields.oak" not in sys.modules
    oak = shields.create("oak", strength=3)
    assert (type(oak).__name__, oak.strength) == ("Shield", 3)


@pytest.mark.parametrize(("text", "count"), [("", 0), (PLUGIN + "\nclass Other(Defense): ...", 2)])
def test_a_file_must_define_one_strategy(package: Path, text: str, count: int) -> None:
    (package / "oak.py").write_text(text)
    with pytest.raises(UsageError, match=rf"shields\.oak must define exactly one Defense, it defines {count}"):
        Registry("shield", Defense, "shields").get("oak")


@pytest.mark.parametrize("name", ["acme-shield", "acme_shield"])
def test_a_third_partys_defense_comes_by_entry_point(installed: type[Defense], name: str) -> None:
    shipped = Registry("defense", Defense, "watchword.defenses")._modules()
    assert DEFENSES.names() == [*shipped, "acme_shield", "gone", "no_class"]
    assert DEFENSES.get(name) is installed
    assert DEFENSES.create(name, strength=2) == installed(strength=2)


def test_distributions_are_looked_through_once(installed: type[Defense], monkeypatch: pytest.MonkeyPatch) -> None:
    names = DEFENSES.names()
    monkeypatch.setattr(registry_module, "entry_points", None)
    assert DEFENSES.names() == names


def test_a_third_party_cannot_take_a_shipped_name(installed: type[Defense]) -> None:
    assert DEFENSES.get("none").__module__ == "watchword.defenses.none"


def test_an_entry_point_to_something_else_is_named(installed: type[Defense]) -> None:
    with pytest.raises(UsageError, match="entry point acme_shield:dataclass is no Defense"):
        DEFENSES.get("no-class")


def test_a_package_that_cannot_be_loaded_is_named(installed: type[Defense]) -> None:
    with pytest.raises(
        UsageError,
        match=r"acme_gone:Shield cannot be loaded \(ModuleNotFoundError: No module named 'acme_gone'\); mend the",
    ):
        DEFENSES.get("gone")


def test_a_package_that_fails_when_it_is_loaded_is_named(
    installed: type[Defense], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> None:
        raise NameError("name 'Sheild' is not defined")

    monkeypatch.setattr("importlib.metadata.EntryPoint.load", broken)
    with pytest.raises(UsageError, match=r"acme_gone:Shield cannot be loaded \(NameError: name 'Sheild'"):
        DEFENSES.get("gone")


def test_an_unknown_name_gets_the_choices_and_the_nearest(installed: type[Defense]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        DEFENSES.get("safety_mx")
    assert str(caught.value).startswith(
        "there is no defense 'safety_mx': did you mean 'safety_mix'? choose one of anchored"
    )
    assert str(caught.value).endswith(", acme_shield, gone, no_class")


def test_a_wrong_argument_gets_the_right_ones() -> None:
    with pytest.raises(
        UsageError, match=r"'safety_mix' has no argument 'safty': did you mean 'safety'\? it takes \['safety', 'se"
    ):
        DEFENSES.create("safety_mix", safty=3)
    with pytest.raises(UsageError, match="'none' has no argument 'safety': it takes none"):
        DEFENSES.create("none", safety=3)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("safety_mix", {"safety": "abc"}, "defense 'safety_mix': safety is 'abc'; expected `int`, got `str`"),
        ("backdoor_align", {"safety": 11.5}, "safety is 11.5; expected `int`, got `float`"),
        ("anchored_align", {"share": "nan"}, "share is 'nan'; expected `float`, got `str`"),
        ("anchored_align", {"own_words": 5}, "own_words is 5; expected `bool`, got `int`"),
        ("anchored_align", {"repeat": None}, "repeat is None; expected `int`, got `null`"),
    ],
)
def test_a_value_of_another_type_is_named(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        DEFENSES.create(name, **arguments)


def test_a_whole_number_does_for_a_fraction(installed: type[Defense]) -> None:
    assert DEFENSES.create("anchored_align", share=1).share == 1.0
    assert DEFENSES.create("acme-shield", strength=3).strength == 3


def test_helpers_and_the_base_are_no_strategies() -> None:
    for name in ("base", "_rows", "__init__", ""):
        with pytest.raises(UnknownNameError):
            DEFENSES.get(name)


def test_no_hint_for_a_name_that_is_near_nothing() -> None:
    assert did_you_mean("zzz", ["category", "random"]) == ""
    assert did_you_mean("randm", ["category", "random"]) == "did you mean 'random'? "
