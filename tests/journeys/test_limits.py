"""Answers stay within Slack's limits with the longest names, the most score types and the longest lists."""

import pytest

from storage.domain.score_types import Band
from storage.scoring.definitions import add_score_type
from tests.journeys.acme import Acme, ago

LONG = "&" * 255  # the longest valid name, which is five times as long when it is escaped
WIDE = "Wolfeschlegelsteinhausenbergerdorff " * 7


async def many_types(acme: Acme, count: int) -> list[str]:
    """Create score types with the longest keys, labels and bands; return their keys."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    keys = [f"{'k' * 29}_{number:02d}" for number in range(count)]
    for number, key in enumerate(keys):
        await add_score_type(
            acme.workspace, key=key, label=f"{'&' * 57} {number:02d}", minimum=-(10**12), maximum=10**12, step=1,
            bands=(Band(name="b" * 32, start=-(10**12)),), start=None, is_default=False, by="U0ADMIN", now=now,
        )  # fmt: skip  # the numbers of one definition
    return keys


@pytest.mark.parametrize("name", [LONG, WIDE[:255].strip()], ids=["escaped", "wide"])
@pytest.mark.parametrize("line", ["top 50", "filter score>=0 limit:50", "filter score>=0"])
async def test_the_longest_lists(acme: Acme, name: str, line: str) -> None:
    """A list of fifty contacts with the longest names and companies is answered."""
    people = [{"id": f"x{n}", "name": name, "company": name} for n in range(50)]
    await acme.pushed(*({"type": "contact.upsert", "contact": contact} for contact in people))
    score = {"type": "score.set", "score": "score", "value": 99}
    await acme.pushed(*(score | {"contact": {"id": contact["id"]}} for contact in people))
    _, call = await acme.answered(lambda: acme.sandbox.say(f"/score {line}"))

    assert call.answer == {"status": 200, "body": "ok"}


@pytest.mark.parametrize("count", [12, 40, 90])
async def test_many_types(acme: Acme, count: int) -> None:
    """With many score types with the longest labels and bands, all scored, every answer arrives."""
    keys = await many_types(acme, count)
    everything = {
        "id": "x",
        "name": LONG,
        "company": LONG,
        "owner": LONG,
        "tags": [f"{n:03d}" * 33 for n in range(100)],
    }
    await acme.pushed({"type": "contact.upsert", "contact": everything})
    at = [{"score": key, "occurred_at": ago(acme.sandbox, 1)} for key in ("score", *keys)]
    await acme.pushed(*({"type": "score.set", "contact": {"id": "x"}, "value": 5} | more for more in at))
    for line in ("crm:x", "help", "history crm:x", "set crm:x 85", "filter score>=0"):
        _, call = await acme.answered(lambda line=line: acme.sandbox.say(f"/score {line}"))  # type: ignore[misc]  # bound at once

        assert call.answer == {"status": 200, "body": "ok"}
        # Every date is whole: a truncated date would be shown as its markup.
        assert "<!date" not in acme.seen(acme.latest())


async def test_the_longest_histories(acme: Acme) -> None:
    """A history of twenty changes with the longest reasons is answered."""
    reasons = [{"value": n, "reason": "&" * 1000} for n in range(20)]
    change = {"type": "score.set", "contact": {"email": "pete@topgun.example"}, "score": "score"}
    await acme.pushed(*(change | reason for reason in reasons))
    _, call = await acme.answered(lambda: acme.sandbox.say("/score history pete@topgun.example"))

    assert call.answer == {"status": 200, "body": "ok"}


async def test_the_longest_receipt(acme: Acme) -> None:
    """A line with ninety values and the longest reason has one receipt and one undo."""
    keys = await many_types(acme, 90)
    line = " ".join(f"{key}=999999999.999" for key in keys)
    _, call = await acme.answered(
        lambda: acme.sandbox.command("/score", f"set ada@example.com {line} because {'&amp;' * 300}")
    )
    _, undone = await acme.answered(lambda: acme.sandbox.command("/score", "undo"))

    assert call.answer == {"status": 200, "body": "ok"}
    assert undone.answer == {"status": 200, "body": "ok"}
    assert {change[-1] for change in await acme.made_by_people()} == {True}
    assert len(await acme.made_by_people()) == 90


async def test_the_longest_lines(acme: Acme) -> None:
    """The longest lines are answered, and change only what they say."""
    before = await acme.ledger()
    for line in [
        "ada " * 700,
        "set ada " + "x" * 2900 + "=5",
        "set " + "x" * 2900 + "@example.com 85",
        "set ada 85 because " + "y" * 2900,
        "set ada " + "9" * 2900,
        "filter " + "name~x " * 400,
        "filter " + "(" * 2900,
        "top " + "z" * 2900,
        "tpo " + "z" * 2900,
        "clear " + "z" * 2900,
        "history " + "z" * 2900,
        "help " + "z" * 2900,
        "undo " + "z" * 2900,
        "&amp;" * 700,
        '"' * 3000,
    ]:
        response, call = await acme.answered(lambda line=line: acme.sandbox.command("/score", line))  # type: ignore[misc]  # bound at once

        assert (response.status, call.answer) == (200, {"status": 200, "body": "ok"}), line[:14]
        assert not call.arguments["text"].startswith("Contact Score could not do that"), line[:14]
    assert await acme.ledger() == before
