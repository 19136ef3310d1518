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
            *_render_family("deliveries_total", "counter", "Deliveries by the status they were answered with.",
                     (*source, "status"), self._deliveries.items()),
            *_render_family("items_total", "counter", "Items of deliveries by what became of them.",
                     (*source, "outcome"), self._items.items()),
            *_render_family("slack_calls_total", "counter", "Calls of Slack's methods by what it answered.",
                     ("method", "outcome"), self._slack.items()),
        ]  # fmt: skip  # a family each


def _render_waiting(measurement: Measured) -> list[str]:
    source, state = ("workspace", "source"), ("workspace", "state")
    ages = {kind: age // SECOND for kind, age in measurement.overdue.items()}
    return [
        *_render_family(
            "quarantined", "gauge", "Items that wait in quarantine.", source, measurement.quarantined.items()
        ),
        *_render_by_kind("jobs_waiting", "Jobs to be done, now or later.", measurement.waiting),
        *_render_by_kind("jobs_overdue_seconds", "For how long the longest waiting job is due.", ages),
        *_render_by_kind("jobs_given_up", "Jobs that were not done, and will not be.", measurement.given_up),
        *_render_family("follow_ups", "gauge", "Follow-ups by state.", state, measurement.follow_ups.items()),
    ]


def _render_by_kind(name: str, help: str, values: Mapping[str, int]) -> Iterable[str]:
    return _render_family(name, "gauge", help, ("kind",), [((kind,), value) for kind, value in values.items()])


def _render_family(
    name: str, kind: str, help: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]
) -> Iterable[str]:
    yield f"# HELP contact_score_{name} {help}"
    yield f"# TYPE contact_score_{name} {kind}"
    for label_values, value in sorted(values):
        pairs = ",".join(
            f'{label}="{_escape_label(label_value)}"' for label, label_value in zip(labels, label_values, strict=True)
        )
        yield f"contact_score_{name}{f'{{{pairs}}}' if pairs else ''} {value}"


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def _try_measure(*, now: int) -> Measured | None:
    """Ask the database, or give nothing where it is out of reach or silent."""
    task = asyncio.create_task(measure(now=now))
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
        task.cancel()  # and not waited for: a server that says nothing does not answer a cancellation either
        return None
    try:
        return task.result()
    except StorageUnavailable:
        return None


def metrics_handler(metrics: Metrics, *, clock: Callable[[], int]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler that shows them; without a database it says that, and shows what this process knows."""

    async def answer(_: web.Request) -> web.Response:
        measurement = await _try_measure(now=clock())
        waiting_lines = [] if measurement is None else _render_waiting(measurement)
        database_up = _render_family(
            "database_up", "gauge", "Whether the database answers.", (), [((), int(measurement is not None))]
        )
        text = "\n".join([*metrics.counted(), *waiting_lines, *database_up, ""])
        return web.Response(body=text.encode(), headers={"Content-Type": KIND})

    return answer
