"""Export metrics for Prometheus: counts since the start of this process, and the current backlog in the database.

Names of workspaces and sources are shown only to a client with a token for them. Totals are shown to everyone.

https://prometheus.io/docs/instrumenting/exposition_formats/"""

import asyncio
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from storage.domain.errors import StorageUnavailable
from storage.reading.metrics_queries import Measured, measure
from storage.tokens import find_token
from webhooks.limits import FailureRate
from webhooks.problems import problem

KIND = "text/plain; version=0.0.4; charset=utf-8"
SECOND = 1_000_000
PATIENCE = 5  # seconds; Prometheus waits 10 by default
NAMES = ("workspace", "source")  #: labels that are shown only with a token


class Metrics:
    """The counters of this process. No label is chosen by a stranger, and none is an e-mail address."""

    def __init__(self) -> None:
        self._deliveries: Counter[tuple[str, ...]] = Counter()
        self._items: Counter[tuple[str, ...]] = Counter()
        self._slack: Counter[tuple[str, ...]] = Counter()

    def delivered(self, team: str, source: str, *, status: int, items: Mapping[str, int]) -> None:
        """Count a delivery of a known source by the status of its answer, and its items by outcome."""
        self._deliveries[team, source, str(status)] += 1
        for outcome, count in items.items():
            self._items[team, source, outcome] += count

    def called(self, method: str, outcome: str) -> None:
        """Count a call of a Slack method by its outcome: `ok`, or Slack's error."""
        self._slack[method, outcome] += 1

    def render(self, view: "MetricsView") -> list[str]:
        """Return the lines of the counters, as *view* shows them."""
        source = ("workspace", "source")
        return [
            *view.render_family("deliveries_total", "counter", "Deliveries by the status they were answered with.",
                     (*source, "status"), self._deliveries.items()),
            *view.render_family("items_total", "counter", "Items of deliveries by what became of them.",
                     (*source, "outcome"), self._items.items()),
            *view.render_family("slack_calls_total", "counter", "Calls of Slack's methods by what it answered.",
                     ("method", "outcome"), self._slack.items()),
        ]  # fmt: skip  # one family each


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsView:
    """
    What a client may see of the metrics.

    With *names* the values are shown for each workspace and source by name, only for those of *team* if it is set.
    Without *names* the values are summed.
    """

    names: bool = False
    team: str | None = None

    def render_family(
        self, name: str, kind: str, help: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], int]]
    ) -> Iterable[str]:
        """Yield the lines of one family of metrics."""
        yield f"# HELP contact_score_{name} {help}"
        yield f"# TYPE contact_score_{name} {kind}"
        shown: Counter[tuple[tuple[str, str], ...]] = Counter()
        for label_values, value in values:
            pairs = tuple(zip(labels, label_values, strict=True))
            if self.team is not None and dict(pairs).get("workspace", self.team) != self.team:
                continue
            shown[pairs if self.names else tuple(pair for pair in pairs if pair[0] not in NAMES)] += value
        for pairs, value in sorted(shown.items()):
            text = ",".join(f'{label}="{_escape_label(label_value)}"' for label, label_value in pairs)
            yield f"contact_score_{name}{f'{{{text}}}' if text else ''} {value}"


def _render_waiting(measurement: Measured, view: MetricsView) -> list[str]:
    source, state = ("workspace", "source"), ("workspace", "state")
    ages = {kind: age // SECOND for kind, age in measurement.overdue.items()}

    def render_by_kind(name: str, help: str, values: Mapping[str, int]) -> Iterable[str]:
        return view.render_family(name, "gauge", help, ("kind",), [((kind,), value) for kind, value in values.items()])

    return [
        *view.render_family(
            "quarantined", "gauge", "Items that wait in quarantine.", source, measurement.quarantined.items()
        ),
        *render_by_kind("jobs_waiting", "Jobs to be done, now or later.", measurement.waiting),
        *render_by_kind("jobs_overdue_seconds", "For how long the longest waiting job is due.", ages),
        *render_by_kind("jobs_given_up", "Jobs that were not done, and will not be.", measurement.given_up),
        *view.render_family("follow_ups", "gauge", "Follow-ups by state.", state, measurement.follow_ups.items()),
    ]


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def _try_measure(*, now: int) -> Measured | None:
    """Return the measurements, or None if the database is unavailable or does not answer in time."""
    task = asyncio.create_task(measure(now=now))
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
        task.cancel()  # without waiting for it: a silent server does not answer a cancellation either
        return None
    try:
        return task.result()
    except StorageUnavailable:
        return None


def metrics_handler(
    metrics: Metrics, *, clock: Callable[[], int], operator_token: str | None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of the metrics. If the database is unavailable, it shows only the counters of this process."""
    failures = FailureRate()

    async def answer(request: web.Request) -> web.Response:
        now, view = clock(), MetricsView()
        if authorization := request.headers.get("Authorization"):
            try:
                access = await _find_view(authorization, operator_token=operator_token, now=now)
            except StorageUnavailable:
                return problem(503, headers={"Retry-After": "5"})
            if access is HTTPStatus.FORBIDDEN:
                return problem(403, "This token lacks the scope `metrics`.")
            if not isinstance(access, MetricsView):
                wait = failures.failed(request.remote or "", now=now)
                headers = {"Retry-After": str(wait)} if wait else {"WWW-Authenticate": "Bearer"}
                return problem(429 if wait else 401, headers=headers)
            view = access
        measurement = await _try_measure(now=now)
        waiting_lines = [] if measurement is None else _render_waiting(measurement, view)
        database_up = view.render_family(
            "database_up", "gauge", "Whether the database answers.", (), [((), int(measurement is not None))]
        )
        text = "\n".join([*metrics.render(view), *waiting_lines, *database_up, ""])
        return web.Response(body=text.encode(), headers={"Content-Type": KIND})

    return answer


async def _find_view(authorization: str, *, operator_token: str | None, now: int) -> MetricsView | HTTPStatus:
    """Return the view that a token allows, or the status to reject its bearer with; raises StorageUnavailable."""
    kind, _, secret = authorization.partition(" ")
    if kind.casefold() != "bearer":
        return HTTPStatus.UNAUTHORIZED
    secret = secret.strip()
    if operator_token and hmac.compare_digest(secret.encode("utf-8", "surrogateescape"), operator_token.encode()):
        return MetricsView(names=True)
    token = await find_token(secret, now=now) if secret.isascii() else None
    if token is None:
        return HTTPStatus.UNAUTHORIZED
    return MetricsView(names=True, team=token.workspace.team) if "metrics" in token.scopes else HTTPStatus.FORBIDDEN
