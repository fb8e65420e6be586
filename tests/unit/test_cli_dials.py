"""Dials read from words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import pytest

from mmtheory.errors import ArgumentError
from mmtheory.experiment.settings import gathered
from mmtheory.world import World
from synthetic.cli._dials import build
from synthetic.cli._world import answers
from synthetic.worlds import WORLDS, GaussianRegression


@final
@dataclass(frozen=True)
class Zoo(World):
    """A dial of every type."""

    name: ClassVar[str] = "zoo"
    task: ClassVar[Any] = "regression"
    table: tuple[tuple[float, ...], ...] = ((0.5, 0.5),)
    gate: Literal["and", "or"] = "and"
    loud: bool = False
    most: int | None = None
    pair: tuple[int, float] = (1, 2.0)
    text: str = ""

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a", "b", "c")

    def draw(self, n, draws):
        raise NotImplementedError

    def exact(self):
        return {}


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("table=[[0.1,0.9],[1,0]]", "table", ((0.1, 0.9), (1.0, 0.0))),
        ("gate=or", "gate", "or"),
        ("loud=true", "loud", True),
        ("most=3", "most", 3),
        ("most=none", "most", None),
        ("pair=4,0.5", "pair", (4, 0.5)),
        ("text=a=b", "text", "a=b"),
    ],
)
def test_every_type_of_dial(setting: str, name: str, value: object) -> None:
    assert build(Zoo, (setting,)).dials()[name] == value


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("gate=nor", "dial gate as one of and, or, found 'nor'"),
        ("loud=maybe", "true or false"),
        ("most=1.5", "a whole number or none, found '1.5'"),
        ("pair=1", "2 values"),
        ("table=[[0.1,inf]]", "finite number"),
        ("table=[[0.1", "dial table"),
        ("colour=red", "expected a dial among table, gate"),
        ("gate", "KEY=VALUE"),
        ("gate=", "KEY=VALUE"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_dial_and_its_kind(setting: str, told: str) -> None:
    with pytest.raises(ArgumentError, match=f"zoo.*{told}"):
        build(Zoo, (setting,))


def test_a_list_decides_how_many_modalities_there_are() -> None:
    world = build(GaussianRegression, ("snr=3,1,2", "label-noise=0.2"))
    assert world == GaussianRegression(snr=(3.0, 1.0, 2.0), dims=(1, 1, 1), scale=(1.0, 1.0, 1.0), label_noise=0.2)
    assert build(GaussianRegression, ("snr=3,",)).modalities == ("a",)


def test_one_number_goes_to_every_modality() -> None:
    assert build(GaussianRegression, ("snr=4",)) == GaussianRegression(snr=(4.0, 4.0))
    assert build(GaussianRegression, ("dims=5", "snr=1,2,3")).dials()["dims"] == (5, 5, 5)


def test_lists_of_different_lengths_and_repeated_dials_are_refused() -> None:
    with pytest.raises(ArgumentError, match="modalities, found 2"):
        build(GaussianRegression, ("snr=1,2,3", "dims=1,2"))
    with pytest.raises(ArgumentError, match="once"):
        build(GaussianRegression, ("snr=1,2", "snr=1,3"))


def test_set_may_be_repeated_and_stand_anywhere() -> None:
    wanted = ["name", "--json", "--set", "a=1", "b=2", "c=-3"]
    assert gathered(["--set", "a=1", "b=2", "name", "--json", "--set=c=-3"], "--set") == wanted
    assert gathered(["name", "--set", "a=1", "--set", "b=2", "--json", "--set", "c=-3"], "--set") == wanted


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_answers_at_its_defaults(name: str) -> None:
    world = WORLDS[name]()
    told = answers(world)
    assert set(told) >= {"world", "dials", "modalities", "subsets", "pid", "shapley", "unit"}
    assert told["world"] == name
    assert len(told["subsets"]) == 2 ** len(world.modalities) - 1
    assert ",".join(world.modalities) in told["subsets"]
    for known in told["subsets"].values():
        for low, high in known.values():
            assert low is None or high is None or low <= high


def test_missingness_from_the_command_line():
    assert build(WORLDS["gaussian-regression"], ("missingness=0.3",)).dials()["missingness"] == 0.3
    assert build(WORLDS["gaussian-regression"], ("missingness=0.3,0.5",)).dials()["missingness"] == (0.3, 0.5)
    three = build(WORLDS["gaussian-discriminant"], ("missingness=0.1,0.2,0.3",))
    assert three.modalities == ("a", "b", "c")
    told = answers(build(WORLDS["gaussian-regression"], ("missingness=1",)))
    assert all(known["information"][1] < 1e-12 for known in told["subsets"].values())


def test_a_decomposition_that_is_not_exact_comes_with_its_reason():
    told = answers(build(WORLDS["gaussian-regression"], ("missingness=0.5,0.1",)))
    assert told["pid"] is None
    assert "missing at least as often" in told["pid_unknown"]
    assert "pid_unknown" not in answers(WORLDS["gaussian-regression"]())
