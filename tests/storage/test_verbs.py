"""No verb can forget whose data it is about, or hide a clock: their signatures are read."""

import ast
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType

import pytest

from storage.committer import Committer
from storage.database import Session
from storage.domain.people import Workspace
from tests.storage.processes import HOUSE

# They know no team yet: they open what all teams are in, move its tables, or are called with a session only.
INTERNAL = {
    "committer", "database", "errors", "folding", "migrating", "models", "opening", "recording", "sqlite_engine",
    "vault", "work",
}  # fmt: skip  # names
# They ask for all teams, or for what says which team it is.
OF_ALL_TEAMS = {
    "workspaces.all_workspaces",
    "sources.check_keys",
    "tokens.find_token",
    "jobs.waiting_for",
    "measuring.measure",
    "redefining.fold_again",
}
MODULES = sorted({path.stem for path in (HOUSE / "storage").glob("*.py")} - {"__init__"} - INTERNAL)

Verb = Callable[..., object]


def verbs(module: ModuleType) -> dict[str, Verb]:
    """Give the public coroutine functions of a module that are not called with a session of their caller."""
    return {
        f"{module.__name__.removeprefix('storage.')}.{name}": function
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and not any(one.annotation is Session for one in inspect.signature(function).parameters.values())
    }


def all_verbs() -> dict[str, Verb]:
    """Give the verbs of all modules."""
    found: dict[str, Verb] = {}
    for name in MODULES:
        found |= verbs(importlib.import_module(f"storage.{name}"))
    return found


VERBS = all_verbs()


def writes(function: Verb) -> bool:
    """Tell whether a function opens a transaction, or uses the connection for writing."""
    nodes = ast.walk(ast.parse(inspect.getsource(function)))
    return any(isinstance(node, ast.Attribute) and node.attr in ("write", "writer", "transaction") for node in nodes)


def test_the_internal_modules_are_there() -> None:
    """The list above names modules that exist, and enough is left to be looked at."""
    assert {path.stem for path in (HOUSE / "storage").glob("*.py")} >= INTERNAL
    assert len(VERBS) >= 20
    assert VERBS.keys() >= OF_ALL_TEAMS


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_names_the_workspace_first(name: str) -> None:
    """The workspace, or Slack's id of the team, stands first; everything else has a name; no clock is hidden."""
    given = list(inspect.signature(VERBS[name]).parameters.values())

    if name not in OF_ALL_TEAMS:
        first = given[0]
        assert (first.name, first.annotation) in (("workspace", Workspace), ("team", str))
        assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert first.default is inspect.Parameter.empty
    assert {one.kind for one in given[1:]} <= {inspect.Parameter.KEYWORD_ONLY}
    for one in given[1:]:
        if one.name == "now":
            assert (one.annotation, one.default) == (int, inspect.Parameter.empty)


def test_what_writes_is_told_the_time() -> None:
    """Whoever makes or changes something says when; only taking away, and what people decided, needs no time."""
    writers = {name for name, function in VERBS.items() if writes(function)}

    assert {"workspaces.add_workspace", "sources.add_source", "deliveries.count_refusal"} <= writers
    timeless = {name for name in writers if "now" not in inspect.signature(VERBS[name]).parameters}
    assert timeless <= {
        "tokens.revoke_token", "segments.delete_segment", "alert_rules.resume_rule",
        "sources.remove_source", "definitions.delete", "definitions.drop_draft",
        "workspaces.name_admins", "workspaces.choose_setters", "notices.is_over", "digests.stop_digest",
        "standings.told", "redefining.fold_again", "following_up.message_moved",
    }  # fmt: skip  # names


def test_the_door_of_the_ledger_is_told_the_time() -> None:
    """A submission says whose it is, and *now* has a name."""
    submission, now = list(inspect.signature(Committer.record).parameters.values())[1:]

    assert submission.name == "submission"
    assert (now.name, now.kind, now.default) == ("now", inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty)


CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}


def test_no_verb_reads_a_clock() -> None:
    """No module of storage asks what time it is."""
    for path in (HOUSE / "storage").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "attr", getattr(called, "id", ""))
            assert name not in CLOCKS, f"{path.name}, line {getattr(node, 'lineno', 0)}"
