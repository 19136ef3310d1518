"""The README is true: its map matches the files, and its commands run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot.slack import handling
from storage.domain.followups import MOVES, FollowUpMove
from webhooks.providers import PROVIDERS

HOUSE = Path(__file__).resolve().parent.parent
README = (HOUSE / "README.md").read_text()
PACKAGES = ("bot", "webhooks", "storage")

#: what the diagram of follow-ups calls each move
MOVE_LABELS = {
    FollowUpMove.CLAIM: "Claim",
    FollowUpMove.ASSIGN: "Assign",
    FollowUpMove.TAKE_OVER: "Take over",
    FollowUpMove.SNOOZE: "Snooze",
    FollowUpMove.DONE: "Done",
    FollowUpMove.REOPEN: "Reopen",
    FollowUpMove.RELEASE: "Release, or three days are over",
    FollowUpMove.WAKE: "the snooze is over",
    FollowUpMove.ESCALATE: "nobody claims it in time",
    FollowUpMove.FALL_BACK: "the score falls back",
    FollowUpMove.TAKE_BACK: "the change is undone",
}


def test_the_map_names_every_folder_and_module_and_no_other() -> None:
    """The map of the README names exactly the existing folders and modules, migrations apart."""
    rows = re.findall(r"^\| `([\w/]+)` \| .+ \| (`.+`) \|$", README, re.MULTILINE)
    in_table = {folder: set(re.findall(r"`(\w+)`", files)) for folder, files in rows}
    in_folders: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in (HOUSE / package).rglob("*.py"):
            in_folders.setdefault(path.parent.relative_to(HOUSE).as_posix(), set()).add(path.stem)

    del in_folders["storage/db/migrations"]
    assert {folder: files - {"__init__"} for folder, files in in_folders.items()} == in_table


def test_every_folder_has_two_sentences() -> None:
    """Each folder is explained in two sentences: what it does, and how or where to begin."""
    sentences = re.findall(r"^\| `[\w/]+` \| (.+?) \| `.+` \|$", README, re.MULTILINE)

    assert len(sentences) > 10
    assert [text for text in sentences if text.count(". ") + text.endswith(".") < 2] == []


def test_the_first_commands_are_those_of_the_dev_script() -> None:
    """The two first commands of the README are commands of ./dev."""
    first = re.search(r"```sh\n(.+?)```", README, re.DOTALL)
    assert first is not None
    output = subprocess.run([sys.executable, HOUSE / "dev"], capture_output=True, text=True, check=True).stdout

    assert first[1].split("\n")[:-1] == ["./dev run", "./dev test"]
    assert {"sync", "run", "test", "check"} == set(re.findall(r"^\./dev (\w+)", output, re.MULTILINE))


def test_the_steps_to_connect_a_sender_are_those_that_are_printed() -> None:
    """The README has the setup steps that `source add` prints, word for word, for each provider."""
    sections = re.findall(r"<summary><code>(\w+)</code></summary>\n\n(.+?)\n\n</details>", README, re.DOTALL)
    printed = {
        name: "\n".join(
            f"{n}. {step.in_terminal.format(url='URL', secret='SECRET')}"
            for n, step in enumerate(provider.steps, start=1)
        )
        for name, provider in PROVIDERS.items()
    }

    assert dict(sections) == printed


def test_what_is_read_of_a_sender_is_what_its_provider_says() -> None:
    """The table of providers states what is read, what is not read, and which events are ignored and why, for each."""
    section = README.partition("### Which fields of a delivery are read")[2].partition("\n## ")[0]
    expected = []
    for name, provider in PROVIDERS.items():
        events_of: dict[str, list[str]] = {}
        for event, reason in provider.ignored_events.items():
            events_of.setdefault(reason, []).append(f"`{event}`")
        ignored = [f"{', '.join(events)} ({reason})" for reason, events in events_of.items()]
        expected.append((name, provider.reads, "; ".join([provider.leaves, *ignored])))

    assert all(provider.reads and provider.leaves for provider in PROVIDERS.values())
    assert re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section, re.MULTILINE) == expected


def test_the_classes_of_a_verb_are_those_of_the_code() -> None:
    """The section on new verbs names the classes that a handler takes and returns."""
    named = re.search(r"with a coroutine from `(\w+)` to `(\w+)`", README)

    assert named is not None
    assert named.groups() == (handling.Request.__name__, handling.Reply.__name__)


@pytest.mark.slow
def test_the_push_of_the_readme_works_as_it_is_written(tmp_path: Path, free_port: int) -> None:
    """The push commands of the README, run in an empty folder, apply two changes."""
    blocks = re.findall(r"```sh\n(.+?)```", README.partition("## Push scores in")[2], re.DOTALL)
    script = "set -eu\ntrap 'kill %1; wait' EXIT\n" + "\n".join(blocks[:2]) + "\ncontact-score deliveries list --json\n"
    # The README waits a second for the service; the test waits until the service is ready.
    ready = f"until curl --silent --fail http://127.0.0.1:{free_port}/readyz > /dev/null; do sleep 0.2; done"
    script = script.replace("& sleep 2", f"&\n{ready}")
    assert ready in script
    programs = Path(sys.executable).parent
    completed = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{programs}:/usr/bin:/bin", "CONTACT_SCORE_PORT": str(free_port), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout.count('"applied": 1') == 4  # two answers, and the two deliveries in the list


def test_the_drawing_of_a_follow_up_has_every_move_and_no_other() -> None:
    """The README's diagram of follow-ups has an arrow with the right words for each move of the code, and no other."""
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", README, re.MULTILINE)
    assert sorted(arrows) == sorted(
        (before.value, after.value, MOVE_LABELS[move]) for (before, move), after in MOVES.items()
    )
