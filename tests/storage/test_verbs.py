"""Signatures of storage functions name the workspace, and take the time as an argument."""

import ast
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType

import pytest

from storage.db.database import Session
from storage.domain.people import Workspace
from storage.domain.submissions import Submission
from storage.ledger.committer import record
from tests.processes import HOUSE

# They know no team yet: they open or migrate the database of all teams, or are called with a session only.
INTERNAL = {
    "bootstrap", "db.backup", "db.database", "db.errors", "db.migrate", "db.models", "db.sqlite_engine",
    "db.sqlite_readers", "ledger.committer", "ledger.plan", "ledger.project", "ledger.queue", "ledger.record",
    "scoring.draft_scores",
    "vault",
}  # fmt: skip  # names
# They are for all teams, or return the team.
OF_ALL_TEAMS = {
    "workspaces.all_workspaces",
    "tokens.find_token",
    "jobs.list_workspaces_with_due_jobs",
    "jobs.enqueue_recurring",
    "reading.metrics_queries.measure",
    "scoring.fold_marked.fold_again",
}
OUTSIDE = ("domain", "db.migrations")  # no verbs: pure functions, and steps that only the migrator runs


def all_modules() -> set[str]:
    """Return the names of all modules of storage."""
    paths = {path.relative_to(HOUSE / "storage").with_suffix("") for path in (HOUSE / "storage").rglob("*.py")}
    names = {".".join(path.parts) for path in paths if path.name != "__init__"}
    return {name for name in names if not name.startswith(OUTSIDE)}


MODULES = sorted(all_modules() - INTERNAL)

Verb = Callable[..., object]


def verbs(module: ModuleType) -> dict[str, Verb]:
    """Return the public coroutine functions of a module that take no session from their caller."""
    return {
        f"{module.__name__.removeprefix('storage.')}.{name}": function
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and not any(parameter.annotation is Session for parameter in inspect.signature(function).parameters.values())
    }


def all_verbs() -> dict[str, Verb]:
    """Return the functions of all modules."""
    found_verbs: dict[str, Verb] = {}
    for name in MODULES:
        found_verbs |= verbs(importlib.import_module(f"storage.{name}"))
    return found_verbs


VERBS = all_verbs()


def writes(function: Verb) -> bool:
    """Return whether a function opens a transaction, or uses the connection for writing."""
    nodes = ast.walk(ast.parse(inspect.getsource(function)))
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("change", "write", "writer", "transaction") for node in nodes
    )


def test_the_internal_modules_are_there() -> None:
    """The listed internal modules exist, and enough functions are left to check."""
    assert all_modules() >= INTERNAL
    assert len(VERBS) >= 20
    assert VERBS.keys() >= OF_ALL_TEAMS


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_names_the_workspace_first(name: str) -> None:
    """The workspace or Slack's team id comes first, all other parameters are keyword-only, and `now` has no default."""
    parameters = list(inspect.signature(VERBS[name]).parameters.values())

    if name not in OF_ALL_TEAMS:
        first = parameters[0]
        assert (first.name, first.annotation) in (("workspace", Workspace), ("team", str))
        assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert first.default is inspect.Parameter.empty
    assert {parameter.kind for parameter in parameters[1:]} <= {inspect.Parameter.KEYWORD_ONLY}
    for parameter in parameters[1:]:
        if parameter.name == "now":
            assert (parameter.annotation, parameter.default) == (int, inspect.Parameter.empty)


def test_what_writes_is_told_the_time() -> None:
    """A function that creates or changes data takes the time, except for data of jobs, messages and notices."""
    writers = {name for name, function in VERBS.items() if writes(function)}

    assert {"workspaces.add_workspace", "sources.config.add_source", "sources.deliveries.count_refusal"} <= writers
    timeless = {name for name in writers if not {"now", "clock"} & inspect.signature(VERBS[name]).parameters.keys()}
    assert timeless <= {
        "scoring.definitions.delete", "scoring.definitions.record_applicant", "notices.clear_notice",
        "sources.health.record_reported", "scoring.fold_marked.fold_again", "alerts.followups.move_message",
        "posted_messages.record_posted", "posted_messages.forget_message", "ledger.erase.record_request_names",
        "late_answers.delete_answer", "sources.readback_queue.clear_failure", "remove_workspace.remove_workspace",
        "sources.writeback_queue.clear_problem", "sources.writeback_queue.record_written", "jobs.drop_repeated",
        "jobs.delete_lane", "ledger.words.fill_words",
        "bulk_changes.cancel_bulk_change", "bulk_changes.save_progress",
        "sent_files.cancel_file", "sent_files.record_start",
    }  # fmt: skip  # names


def test_a_queryset_is_run_by_a_session() -> None:
    """No queryset is awaited by itself, which would do without a session's limits, errors and transaction."""
    awaited = []
    for path in (HOUSE / "storage").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Await | ast.AsyncFor):
                start: ast.AST = node.value if isinstance(node, ast.Await) else node.iter
                while isinstance(start, ast.Call | ast.Attribute):
                    start = start.func if isinstance(start, ast.Call) else start.value
                awaited += [f"{path}:{node.lineno}"] if isinstance(start, ast.Name) and start.id == "models" else []
    assert awaited == []


def test_the_door_of_the_ledger_is_told_the_time() -> None:
    """`record` takes the workspace first, then the submission, and *now* by keyword."""
    workspace, submission, now = inspect.signature(record).parameters.values()

    assert (workspace.name, workspace.annotation) == ("workspace", Workspace)
    assert (submission.name, submission.annotation) == ("submission", Submission)
    assert (now.name, now.kind, now.default) == ("now", inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty)


CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}


def test_no_verb_reads_a_clock() -> None:
    """No module of storage reads the clock; one that only measures how long something takes may be read."""
    for path in (HOUSE / "storage").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "attr", getattr(called, "id", ""))
            assert name not in CLOCKS or ast.unparse(node) in ("loop.time()", "time.monotonic()"), (
                f"{path.name}, line {getattr(node, 'lineno', 0)}"
            )
