"""Measure whole commands: from Slack's signed request until the answer reaches Slack.

The floor answers with one SQL statement and one line per row, and checks nothing but the signature."""

import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from tests.bench.fill import email, person
from tests.bench.harness import Options, Row, Stage, durations_row, floor_side, foreign_slack, slack_side
from tests.slack.foreign import ForeignSlack


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the durations of each command, one after the other."""
    number = max(1, options.contacts // 2)
    address, name = email(number), person(number).name
    # The floor answers commands that show one contact, and the list of the highest scores.
    lines = {
        f"{address}": True,
        "top 20": True,
        "filter score>80": True,
        f"{name}": False,
        "filter fit:hot owner:rep7@acme.example": False,
        f"history {address}": False,
        f"why {address}": False,
        f"set {address} +1": False,
    }
    times = max(2, options.events // 40)
    for dialect in options.databases:
        async with (
            floor_side(stage, dialect, contacts=options.contacts) as floor,
            foreign_slack() as slack_of_floor,
            slack_side(stage, dialect, contacts=options.contacts) as (_, slack),
        ):
            target = urlsplit(floor.url)
            slack_of_floor.app_url = f"{target.scheme}://{target.netloc}"
            for line, has_floor in lines.items():
                of_floor, of_product = [], []
                for turn in range(times + 1):
                    first = await type_line(slack_of_floor, line) if has_floor else None
                    second = await type_line(slack, line)
                    if turn:  # the first answer loads who asks, and where
                        of_floor += [first] if first is not None else []
                        of_product.append(second)
                yield durations_row(f"/score {line}", dialect, floor=of_floor, product=of_product)


async def type_line(slack: ForeignSlack, line: str) -> float:
    """Type a command, and return the seconds until its answer."""
    before = _count_answers(slack)
    began = time.perf_counter()
    response = await slack.say(f"/score {line}")
    assert (response.status, response.note) == (200, ""), response
    await slack.wait_for(lambda: _count_answers(slack) > before)
    return time.perf_counter() - began


def _count_answers(slack: ForeignSlack) -> int:
    return sum(call.method == "response_url" for call in slack.calls)
