"""Composable checks for Block Kit; they yield error messages and JSON pointers in Slack's wording."""

from collections.abc import Callable, Iterator
from typing import Any

Check = Callable[[Any, str], Iterator[str]]


def complaint(text: str, path: str) -> str:
    return f"[ERROR] {text} [json-pointer:{path}]"


def anything(value: Any, path: str) -> Iterator[str]:
    return iter(())


def boolean(value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield complaint("must provide a boolean", path)


def integer(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield complaint("must provide a number", path)


def string(most: int, *, least: int = 1) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield complaint("must provide a string", path)
        elif len(value) > most:
            yield complaint(f"must be less than {most + 1} characters", path)
        elif len(value) < least:
            yield complaint(f"must be more than {least - 1} characters", path)

    return check


def one_of(*words: str) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if value not in words:
            yield complaint("must be a valid enum value", path)

    return check


def listing(check_item: Check, *, most: int, least: int = 1) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield complaint("must provide an array", path)
            return
        if len(value) > most:
            yield complaint(f"no more than {most} items allowed", path)
        if len(value) < least:
            yield complaint(f"no fewer than {least} items allowed", path)
        for index, item in enumerate(value):
            yield from check_item(item, f"{path}/{index}")

    return check


def shape(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    """Return a check for an object with these keys and no others."""
    checks = required | optional

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield complaint("must provide an object", path)
            return
        for key in required:
            if key not in value:
                yield complaint(f"missing required field: {key}", path)
        for key, inner in value.items():
            if key in checks:
                yield from checks[key](inner, f"{path}/{key}")
            elif key != "type":
                yield complaint(f"invalid additional property: {key}", path)

    return check


def text(most: int, *, plain: bool = False) -> Check:
    """Return a check for a text object; with *plain*, only plain_text is allowed."""
    mrkdwn = shape({"text": string(most)}, {"verbatim": boolean})
    plain_text = shape({"text": string(most)}, {"emoji": boolean})

    def check(value: Any, path: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind == "plain_text":
            yield from plain_text(value, path)
        elif kind == "mrkdwn" and not plain:
            yield from mrkdwn(value, path)
        else:
            yield complaint("must be a valid text object", path)

    return check


def kind_of(kinds: dict[str, Check]) -> Check:
    """Return a check for an object with one of the types in *kinds*."""

    def check(value: Any, path: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            yield complaint(f"unsupported here: {kind}", f"{path}/type")
        else:
            yield from kinds[kind](value, path)

    return check
