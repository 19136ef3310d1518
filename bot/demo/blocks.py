"""Find the interactive elements of blocks."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

Json = dict[str, Any]

#: the kinds of elements that a person can click, choose or fill in
INTERACTIVE = frozenset({"button", "overflow", "static_select", "external_select", "users_select"}) | {
    *("conversations_select", "checkboxes", "plain_text_input", "number_input", "datepicker"),
}


def elements_of(block: Json) -> list[Json]:
    """Return the interactive elements of *block*."""
    candidates = [block.get("accessory"), block.get("element"), *(block.get("elements") or [])]
    return [element for element in candidates if isinstance(element, dict) and element.get("type") in INTERACTIVE]


def with_ids(blocks: Iterable[Json], *, new_id: Callable[[str], str]) -> list[Json]:
    """Return a copy of the blocks in which every block and element has an id; Slack generates missing ids."""
    copies = copy.deepcopy(list(blocks))
    for block in copies:
        block["block_id"] = block.get("block_id") or new_id("b")
        for element in elements_of(block):
            element["action_id"] = element.get("action_id") or new_id("a")
    return copies


def find_element(blocks: Iterable[Json], action_id: str, block_id: str | None = None) -> tuple[Json, Json]:
    """Return the block and the element with *action_id*; raises LookupError if there is none."""
    for block in blocks:
        if block_id in (None, block.get("block_id")):
            for element in elements_of(block):
                if element.get("action_id") == action_id:
                    return block, element
    raise LookupError(f"Nothing here has the action_id {action_id!r}.")
