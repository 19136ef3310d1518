"""Explain a score in Slack and through the API, and page through its history."""

from typing import Any

import aiohttp

from storage.domain.score_types import Band
from storage.scoring.definitions import add_score_type
from storage.tokens import create_token
from tests.conftest import on_both
from tests.journeys.acme import Acme, ago

DAY = 86_400_000_000


@on_both
async def test_why(acme: Acme) -> None:
    """Each line names author, time, reason, and losses to the range and fading; the lines add up to the score."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_score_type(
        acme.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1000, start=None,
        bands=[Band(name="cold", start=0), Band(name="hot", start=30_000)], half_life=10 * DAY,
        is_default=False, by="U0ADMIN", now=now,
    )  # fmt: skip  # one definition
    ada = {"email": "ada@example.com"}
    await acme.pushed(
        {"type": "score.set", "contact": ada, "score": "heat", "value": 80, "occurred_at": ago(acme.sandbox, 20.01)},
        {"type": "score.add", "contact": ada, "score": "heat", "value": 15, "occurred_at": ago(acme.sandbox, 1.01)},
    )
    await acme.ask("set ada +50 because great demo")
    await acme.ask("set ada 3")
    await acme.ask("undo")
    texts = [acme.seen(await acme.ask(line)) for line in ("why ada", "why ada heat", "why ada satisfaction", "why")]
    history = acme.seen(await acme.press(await acme.ask("why ada fit"), "History"))
    card = (await acme.ask("ada")).blocks[1]["text"]["text"].splitlines()[-1]

    assert texts == [
        "*Ada Lovelace · Score*  *100* (hot)\n"
        '*+38*  of +50, 12 cut by the range 0 to 100 · ‹now› · by <@U0REP> · "great demo"\n'
        '*+5* · ‹5 d ago› · from crm · "Read the pricing page"\n'
        "*+57*  set to 57 · ‹7 d ago› · from crm\n"
        "(These add up to 100.)\n"
        "[History]",
        "*Ada Lovelace · Heat*  *34* (hot)\n"
        "*+14*  of +15, 0.014 rounded up, 1.014 faded · ‹1 d ago› · from crm\n"
        "*+20*  set to 80, 0.014 rounded up, 60.014 faded · ‹20 d ago› · from crm\n"
        "(These add up to 34.)\n"
        "[History]",
        "Ada Lovelace has no Satisfaction score, so there is nothing to explain.",
        "Name the contact: `/score why ada@example.com`",
    ]
    assert history.startswith("*Ada Lovelace · Fit*\n")
    # 34 is shown down to 29.5: about two days
    assert card.startswith("Heat  *34* (hot) · ▲ 2 in 7 days · falls out of *hot* on <!date^")
    documents = await asked_by_api(acme, "heat/explanation", "heat", "score/history?limit=2", "gone/explanation")
    assert documents[0]["value"] == documents[1]["value"] == 34
    assert [
        (
            contribution["effect"],
            contribution["op"],
            contribution["asked"],
            contribution["cut"],
            contribution["rounded"],
            contribution["faded"],
            contribution["source"],
            contribution["actor"],
            contribution["rule"],
        )
        for contribution in documents[0]["contributions"]
    ] == [
        (14, "add", 15, 0, -0.014, 1.014, "crm", None, None),
        (20, "set", 80, 0, -0.014, 60.014, "crm", None, None),
    ]
    assert set(documents[1]) == {"value", "band", "as_of", "trend_30d", "band_until"}
    assert [(entry["op"], entry["amount"], entry["effective"], entry["undone"]) for entry in documents[2]["items"]] == [
        ("set", 3, None, True),
        ("add", 50, 38, False),
    ]
    (rest,) = await asked_by_api(acme, f"score/history?limit=2&cursor={documents[2]['next_cursor']}")
    assert ([entry["amount"] for entry in rest["items"]], rest["next_cursor"]) == ([5, 57], None)
    assert documents[3]["status"] == 404
    bad = await asked_by_api(acme, "score/history?cursor=W10", "score/history?limit=0", "satisfaction/explanation")
    assert [answer["status"] for answer in bad] == [400, 400, 404]


async def asked_by_api(acme: Acme, *paths: str) -> list[dict[str, Any]]:
    """Fetch documents about Ada's scores from the API."""
    token = (await create_token(acme.workspace, name="script", scopes=["read"], by="U0ADMIN", now=1))[1]
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        whole = [f"{acme.sandbox.app_url}/api/v1/contacts/ada@example.com/scores/{path}" for path in paths]
        return [await (await session.get(url)).json(content_type=None) for url in whole]
