"""Refusals have messages that people can read."""

import inspect

from storage.domain import errors
from storage.domain.errors import Refusal, UnknownScoreType


def test_every_refusal_says_something_without_being_told() -> None:
    """The message of a refusal is its docstring, unless a better message is passed."""
    family = [
        refusal for _, refusal in inspect.getmembers(errors, inspect.isclass) if refusal.__module__ == errors.__name__
    ]
    plain = [refusal for refusal in family if refusal.__init__ is Refusal.__init__]

    assert len(plain) > 10
    assert all(issubclass(refusal, Refusal) for refusal in family)
    assert [str(refusal()) for refusal in plain] == [inspect.getdoc(refusal) for refusal in plain]
    assert str(Refusal("the kettle is empty")) == "the kettle is empty"


def test_an_unknown_score_type_names_the_known_ones() -> None:
    """The refusal of an unknown score type lists the known types, and shortens a very long key."""
    refusal = UnknownScoreType("f" * 60, known=("score", "fit"))

    assert str(refusal) == f"there is no score type `{'f' * 40}`; existing: score, fit"
    assert (refusal.key, refusal.known) == ("f" * 60, ("score", "fit"))
    assert str(UnknownScoreType("fit")) == "there is no score type `fit`; existing: none"
