"""What is wrong with a value is said in plain words."""

from typing import Any, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from storage.domain.validation import explain_invalid


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, "abc", "must be a whole number"),
        (float, "abc", "must be a number"),
        (dict[str, int | float], {"points": "x"}, "must be a number"),
        (str, 5, "must be text"),
        (list[int], 5, "must be a list"),
        (dict[str, int], 5, "must be an object"),
        (bool, "x", "must be true or false"),
        (Literal["a", "b"], "c", "must be `a` or `b`"),
        (complex, object(), "cannot be used"),
    ],
)
def test_a_value_of_another_kind_is_explained(kind: Any, value: object, expected: str) -> None:
    """The sentence names what the value must be, in no words of the validator."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)

    assert explain_invalid(refused.value.errors(include_url=False)[0]) == expected
