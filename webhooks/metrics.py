"""Say in Prometheus' words how the service does: counts since this process began, and what waits now.

https://prometheus.io/docs/instrumenting/exposition_formats/"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from aiohttp import web

from storage.domain.errors import StorageUnavailable
from storage.reading.metrics_queries import Measured, measure

KIND = "text/plain; version=0.0.4; charset=utf-8"
SECOND = 1_000_000
PATIENCE = 5  # seconds; whoever asks waits for ten, if nobody told it otherwise


class Metrics:
    """What is counted in this process; no label is chosen by a stranger, and none is an address."""

    def __init__(self) -> None:
        self._deliveries: Counter[tuple[str, ...]] = Counter()
        self._items: Counter[tuple[str, ...]] = Counter()
        self._slack: Counter[tuple[str, ...]] = Counter()

    def delivered(self, team: str, source: str, *, status: int, items: Mapping[str, int]) -> None:
        """Count a delivery of a source that there is, by the answer it got, and its items by what became of them."""
        self._deliveries[team, source, str(status)] += 1
        for outcome, count in items.items():
            self._items[team, source, outcome] += count

    def called(self, method: str, outcome: str) -> None:
        """Count a call of a method of Slack's: `ok`, or what it said instead."""
        self._slack[method, outcome] += 1

    def counted(self) -> list[str]:
        """Write what was counted."""
        source = ("workspace", "source")
        return [
            *_family("deliveries_total", "counter", "Deliveries by the status they were answered with.",
                     (*source, "status"), self._deliveries.items()),
            *_family("items_total", "counter", "Items of deliveries by what became of them.",
                     (*source, "outcome"), self._items.items()),
            *_family("slack_calls_total", "counter", "Calls of Slack's methods by what it answered.",
                     ("method", "outcome"), self._slack.items()),
        ]  # fmt: skip  # a family each


def _waiting(measured: Measured) -> list[str]:
    source, state = ("workspace", "source"), ("workspace", "state")
    ages = {kind: age // SECOND for kind, age in measured.overdue.items()}
    return [
        *_family("quarantined", "gauge", "Items that wait in quarantine.", source, measured.quarantined.items()),
        *_of_kinds("jobs_waiting", "Jobs to be done, now or later.", measured.waiting),
        *_of_kinds("jobs_overdue_seconds", "For how long the longest waiting job is due.", ages),
        *_of_kinds("jobs_given_up", "Jobs that were not done, and will not be.", measured.given_up),
        *_family("follow_ups", "gauge", "Follow-ups by state.", state, measured.follow_ups.items()),
    ]


def _of_kinds(name: str, help: str, values: Mapping[str, int]) -> Iterable[str]:
    return _family(name, "gauge", help, ("kind",), [((kind,), value) for kind, value in values.items()])


def _family(
    name: str, kind: str, help: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]
) -> Iterable[str]:
    yield f"# HELP contact_score_{name} {help}"
    yield f"# TYPE contact_score_{name} {kind}"
    for said, value in sorted(values):
        pairs = ",".join(f'{label}="{_escaped(one)}"' for label, one in zip(labels, said, strict=True))
        yield f"contact_score_{name}{f'{{{pairs}}}' if pairs else ''} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def _measured(*, now: int) -> Measured | None:
    """Ask the database, or give nothing where it is out of reach or silent."""
    asking = asyncio.create_task(measure(now=now))
    done, _ = await asyncio.wait([asking], timeout=PATIENCE)
    if not done:
        asking.cancel()  # and not waited for: a server that says nothing does not answer a cancellation either
        return None
    try:
        return asking.result()
    except StorageUnavailable:
        return None


def metrics_handler(metrics: Metrics, *, clock: Callable[[], int]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler that shows them; without a database it says that, and shows what this process knows."""

    async def answer(_: web.Request) -> web.Response:
        measured = await _measured(now=clock())
        waiting = [] if measured is None else _waiting(measured)
        up = _family("database_up", "gauge", "Whether the database answers.", (), [((), int(measured is not None))])
        text = "\n".join([*metrics.counted(), *waiting, *up, ""])
        return web.Response(body=text.encode(), headers={"Content-Type": KIND})

    return answer
