"""Slack calls are counted by their outcome."""

import re

from aiohttp import ClientSession

from tests.journeys.acme import Acme
from tests.slack.faults import Fault


async def test_calls_of_slack_are_counted_by_method_and_outcome(acme: Acme) -> None:
    """Calls are counted by method and by `ok` or Slack's error code, follow-ups by state, without names of people."""
    acme.sandbox.faults.add(Fault(method="users.info", kind="server_error", times=5))
    await acme.ask("ada")
    await acme.pushed({"type": "score.add", "contact": {"email": "ada@example.com"}, "score": "score", "value": 5})
    async with ClientSession() as client, client.get(f"{acme.sandbox.app_url}/metrics") as answer:
        text = await answer.text()

    assert 'contact_score_slack_calls_total{method="auth.test",outcome="ok"} 1\n' in text
    assert re.search(r'slack_calls_total{method="users.info",outcome="(?!ok")[^"@]+"} [1-9]', text)
    assert 'contact_score_items_total{outcome="applied"} 1\n' in text
    assert "Ada" not in text
    assert "@" not in text
