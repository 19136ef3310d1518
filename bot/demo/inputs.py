"""Convert what a person chose or typed to the state that Slack sends."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from bot.demo.blocks import Json, elements_of
from bot.demo.world import View


class Field(NamedTuple):
    """The keys of an element's chosen value in the state, and of its initial value in the block."""

    value: str
    initial: str


FIELDS = {
    "plain_text_input": Field("value", "initial_value"),
    "number_input": Field("value", "initial_value"),
    "datepicker": Field("selected_date", "initial_date"),
    "static_select": Field("selected_option", "initial_option"),
    "external_select": Field("selected_option", "initial_option"),
    "checkboxes": Field("selected_options", "initial_options"),
    "overflow": Field("selected_option", ""),
    "users_select": Field("selected_user", "initial_user"),
    "conversations_select": Field("selected_conversation", "initial_conversation"),
}
# A choice in an overflow menu acts at once and is not part of the state.
STATELESS = {"overflow"}


def chosen(element: Json, choice: Any) -> Json:
    """Return the state of *element* after a person gave it *choice*.

    *choice* is a plain value (the value of an option), an option, a list of options, or a state as Slack writes it.
    """
    kind = element["type"]
    if kind not in FIELDS:
        return {"type": kind}
    key = FIELDS[kind].value
    if isinstance(choice, dict) and key in choice:
        choice = choice[key]
    if key == "selected_option" and choice is not None:
        choice = _find_option(element, choice)
    elif key == "selected_options":
        choice = [_find_option(element, option) for option in choice or []]
    elif key == "value" and choice is not None:
        choice = str(choice) or None
    return {"type": kind, key: choice}


def state_of(blocks: Any, values: dict[str, dict[str, Json]]) -> dict[str, dict[str, Json]]:
    """Return the state of all fields in *blocks*: the chosen values, or else the initial values."""
    state: dict[str, dict[str, Json]] = {}
    for block in blocks:
        for element in elements_of(block):
            if element["type"] not in FIELDS or element["type"] in STATELESS:
                continue
            field_state = values.get(block["block_id"], {}).get(element["action_id"])
            if field_state is None or field_state["type"] != element["type"]:
                field_state = chosen(element, element.get(FIELDS[element["type"]].initial))
            state.setdefault(block["block_id"], {})[element["action_id"]] = field_state
    return state


def complaints(view: View, state: dict[str, dict[str, Json]]) -> dict[str, str]:
    """Return the errors that Slack shows without sending the form, by block."""
    errors: dict[str, str] = {}
    for block in view.blocks:
        if block["type"] == "input":
            for complaint in _check_field(block, state):
                errors.setdefault(block["block_id"], complaint)
    return errors


def _check_field(block: Json, state: dict[str, dict[str, Json]]) -> Iterator[str]:
    element = block["element"]
    value = state[block["block_id"]][element["action_id"]][FIELDS[element["type"]].value]
    if value in (None, "", []):
        if not block.get("optional"):
            yield "Please complete this required field."
    elif element["type"] == "number_input":
        yield from _check_number(element, str(value))
    elif element["type"] == "plain_text_input" and len(value) > (longest := element.get("max_length", 3000)):
        yield f"Must be at most {longest} characters long"


def _check_number(element: Json, value: str) -> Iterator[str]:
    try:
        number = Decimal(value)
    except InvalidOperation:
        yield "Must be a valid number"
        return
    if not element.get("is_decimal_allowed") and number != number.to_integral_value():
        yield "Must be a whole number"
    if "min_value" in element and number < Decimal(element["min_value"]):
        yield f"Must be greater than or equal to {element['min_value']}"
    if "max_value" in element and number > Decimal(element["max_value"]):
        yield f"Must be less than or equal to {element['max_value']}"


def _find_option(element: Json, choice: Any) -> Json:
    options = element.get("options", [])
    value = choice["value"] if isinstance(choice, dict) else str(choice)
    for option in options:
        if option["value"] == value:
            return dict(option)
    if options:
        raise LookupError(f"{element.get('action_id')!r} offers no option {value!r}.")
    if isinstance(choice, dict):
        return choice
    return {"text": {"type": "plain_text", "text": value, "emoji": True}, "value": value}
