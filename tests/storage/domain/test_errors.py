"""Refusals speak for themselves."""

import inspect

from storage.domain import errors
from storage.domain.errors import Refusal, UnknownScoreType


def test_every_refusal_says_something_without_being_told() -> None:
    """The docstring of a refusal is its message; a better one takes its place."""
    family = [one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__]
    plain = [one for one in family if one.__init__ is Refusal.__init__]

    assert len(plain) > 10
    assert all(issubclass(one, Refusal) for one in family)
    assert [str(one()) for one in plain] == [inspect.getdoc(one) for one in plain]
    assert str(Refusal("the kettle is empty")) == "the kettle is empty"


def test_an_unknown_score_type_names_the_known_ones() -> None:
    """The refusal says what there is; a very long key is shown in part."""
    refusal = UnknownScoreType("f" * 60, known=("score", "fit"))

    assert str(refusal) == f"there is no score type `{'f' * 40}`; there is score, fit"
    assert (refusal.key, refusal.known) == ("f" * 60, ("score", "fit"))
    assert str(UnknownScoreType("fit")) == "there is no score type `fit`; there is none"
