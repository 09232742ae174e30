"""Value classes behave as those of dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import ClassVar

import pytest

from boxwright.spec import values


@values.dataclass(frozen=True, slots=True)
class Point:
    kind: ClassVar[str] = "point"
    x: int
    y: int = 2
    notes: dict[str, int] = values.field(default_factory=dict, hash=False)
    hidden: int = values.field(default=0, compare=False, repr=False)

    @property
    def total(self) -> int:
        return self.x + self.y


@values.dataclass(frozen=True, slots=True, kw_only=True)
class Named(Point):
    name: str
    x: int = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Standard(Point):
    z: int = 3


@values.dataclass(frozen=True, slots=True)
class OnStandard(Standard):
    w: int = 4


@values.dataclass(frozen=True, slots=True, order=True)
class Version:
    major: int
    minor: int = 0


@values.dataclass
class Open:
    a: int
    b: list[int] = values.field(default_factory=list)

    def __post_init__(self) -> None:
        self.b.append(self.a)


def test_making() -> None:
    assert Point(1) == Point(1, 2) == Point(x=1, y=2)
    assert repr(Point(1)) == "Point(x=1, y=2, notes={})"
    assert Point(1).notes is not Point(1).notes and Point(1).total == 3
    assert Named(name="n").x == 7 and Named(5, name="n").y == 5
    for wrong in (
        lambda: Point(),
        lambda: Point(1, 2, {}, 0, 5),
        lambda: Point(1, x=1),
        lambda: Point(1, no=1),
    ):  # type: ignore[call-arg,misc]
        with pytest.raises(TypeError):
            wrong()


def test_frozen_hashed_compared() -> None:
    point = Point(1)
    for change in (
        lambda: setattr(point, "x", 2),
        lambda: delattr(point, "x"),
        lambda: setattr(point, "new", 1),
    ):
        with pytest.raises(AttributeError):
            change()
    assert hash(Point(1, notes={"a": 1})) == hash(Point(1)) and Point(1, notes={"a": 1}) != Point(1)
    assert Point(1, hidden=5) == Point(1) and Point(1) != Standard(1) and {Point(1), Point(1)} == {Point(1)}
    assert Version(1) < Version(1, 1) <= Version(2) and sorted([Version(2), Version(1)])[0].major == 1
    assert not hasattr(point, "__dict__")


def test_standard_tools() -> None:
    point = Named(name="n", y=5)
    assert dataclasses.replace(point, name="m") == values.replace(point, name="m") == Named(name="m", y=5)
    assert (
        [f.name for f in dataclasses.fields(point)]
        == [f.name for f in values.fields(point)]
        == ["x", "y", "notes", "hidden", "name"]
    )
    assert dataclasses.asdict(Point(1)) == {
        "x": 1,
        "y": 2,
        "notes": {},
        "hidden": 0,
    } and dataclasses.is_dataclass(point)
    assert copy.deepcopy(point) == point and pickle.loads(pickle.dumps(Point(4, 5))) == Point(4, 5)


def test_the_two_kinds_inherit_from_each_other() -> None:
    assert Standard(1, z=9) == Standard(1, 2, {}, 0, 9)
    assert OnStandard(1, w=8).z == 3 and repr(OnStandard(1)).endswith("z=3, w=4)")


def test_matching_and_open_classes() -> None:
    match Point(1, 9):
        case Point(1, y):
            assert y == 9
        case _:
            pytest.fail("not matched")
    value = Open(1)
    value.a = 4
    assert value.a == 4 and value.b == [1] and Open(2).b == [2]
    with pytest.raises(TypeError):
        hash(value)
