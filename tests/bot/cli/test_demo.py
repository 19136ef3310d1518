"""The demo as a process: a page on loopback with sample contacts, temporary unless a file is given."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.bot.cli.program import busy, environment, serving
from tests.webhooks.sender import session


def counted(file: Path) -> dict[str, int]:
    """Return the number of rows of some tables."""
    with closing(sqlite3.connect(file)) as connection:
        tables = ("workspaces", "sources", "score_types", "contacts", "facts", "deliveries", "quarantine", "tokens")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


async def check_agent(browser: ClientSession, url: str) -> str:
    """Fail unless the page's two calls of tools answer, and an agent with the shown token too; return the token."""
    async with browser.get(f"{url}/state?user=U0REP") as answer:
        agent = (await answer.json())["agent"]
    async with browser.post(f"{url}/act/agent", json={}, headers={"X-Sandbox": "1"}) as answer:
        find, get = (await answer.json())["calls"]
    best = find["content"]["contacts"][0]
    assert [(call["tool"], call["status"]) for call in (find, get)] == [("find_contacts", 200), ("get_contact", 200)]
    assert find["text"].startswith("3 contacts match")
    assert (get["arguments"], get["content"]["contact"]["email"]) == ({"contact": str(best["id"])}, best["email"])
    assert best["name"] in get["text"]

    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with browser.post(
        agent["url"], json=request, headers={"Authorization": f"Bearer {agent['token']}"}
    ) as answer:
        names = {tool["name"] for tool in (await answer.json())["result"]["tools"]}
    assert {"find_contacts", "get_contact", "set_score"} <= names
    return str(agent["token"])


@pytest.mark.slow
async def test_the_demo_opens_on_sample_contacts(tmp_path: Path) -> None:
    """If port 8080 is in use the demo uses a free port and says so; its file keeps the contacts, without duplicates."""
    file = tmp_path / "demo.db"
    env = environment(None, CONTACT_SCORE_DATABASE_URL="mysql://ignored")  # the demo has its own database
    counts, tokens = [], list[str]()
    for _ in range(2):
        with busy(8080):
            async with serving("demo", "--keep", str(file), env=env) as demo, session() as open_session:
                assert demo.startup_lines == ["Port 8080 is in use, so the demo takes a free one."]
                assert demo.url.startswith("http://127.0.0.1:")
                async with open_session.get(demo.url) as page:
                    assert page.status == 200
                    assert "text/html" in page.headers["Content-Type"]
                tokens.append(await check_agent(open_session, demo.url))
                result = await demo.stop()
        stop, connect = result.out.splitlines()
        assert (result.code, stop, result.err) == (0, "Stop it with Ctrl+C.", "")
        assert connect.startswith(
            "To use its data in another terminal, type there:"
            f" export CONTACT_SCORE_DATABASE_URL=sqlite://{file} CONTACT_SCORE_PUBLIC_URL=http://127.0.0.1:"
        )
        counts.append(counted(file))

    assert counts[0] == counts[1]
    assert counts[0]["tokens"] == 1  # the second run revoked the token of the first
    assert tokens[0] != tokens[1]
    assert (counts[0]["workspaces"], counts[0]["sources"], counts[0]["score_types"]) == (1, 1, 3)
    assert counts[0]["contacts"] >= 150
    assert counts[0]["facts"] > counts[0]["contacts"]
    assert counts[0]["deliveries"] > 0  # the contacts came through the receiver
    assert counts[0]["quarantine"] == 0


@pytest.mark.slow
async def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    """Without a file the database is deleted at the end, and no token is printed."""
    async with serving("demo", env=environment(None, TMPDIR=str(tmp_path))) as demo:
        names = await asyncio.to_thread(lambda: [path.name for path in tmp_path.glob("contact-score-*/*")])
        assert "demo.db" in names
        result = await demo.stop()

    assert result.code == 0
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
    assert "xoxb-" not in json.dumps([result.out, result.err])
