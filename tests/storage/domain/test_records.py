"""Immutable records are copied with changes as `dataclasses.replace` copies them."""

import dataclasses
from dataclasses import dataclass, field

import pytest

from storage.domain.records import replace


@dataclass(frozen=True, slots=True)
class Point:
    """A record with a default, a field that is not compared, and a check."""

    x: int
    y: int = 0
    notes: list[str] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        if self.y < 0:
            raise ValueError("y is at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """A record with one field."""

    value: object


def test_a_copy_has_the_changes_and_the_rest() -> None:
    """The copy has all fields, the original stays, and a mutable value is shared."""
    point = Point(1, 2, ["a"])
    copy = replace(point, x=5)

    assert (copy, copy.notes) == (dataclasses.replace(point, x=5), ["a"])
    assert copy.notes is point.notes
    assert point == Point(1, 2)
    assert replace(point) == point
    assert replace(Single(value=(1, 2)), value=3) == Single(value=3)
    assert replace(Single(value=(1, 2))) == Single(value=(1, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.x = 3  # type: ignore[misc]  # that is the test


def test_a_wrong_copy_is_refused() -> None:
    """A field that does not exist is refused, and the record checks itself."""
    with pytest.raises(AttributeError):
        replace(Point(1), z=3)  # type: ignore[call-arg]  # that is the test
    with pytest.raises(ValueError, match="at least 0"):
        replace(Point(1), y=-1)
