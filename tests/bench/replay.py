"""Push the CDNOW log through a real `contact-score serve`, twice, and check every sum.

python -m tests.bench.replay FILE [DATABASE_URL …]; without a URL on a temporary SQLite file."""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.bot.cli.program import environment, run, serving
from tests.webhooks.sender import Sender, session

TEAM, SLUG, SCORE = "T0CDNOW", "shop", "engagement"
BATCH = 500
SENDERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """A purchase: one line of the log."""

    line: int
    customer: str
    day: str
    dollars: Decimal

    @property
    def email(self) -> str:
        """Return the customer's email."""
        return f"c{self.customer}@example.com"

    def item(self) -> dict[str, Any]:
        """Return the purchase as an item of a delivery."""
        return {
            "type": "score.add",
            "id": f"cdnow-{self.line:05d}",
            "occurred_at": datetime.strptime(self.day, "%Y%m%d").strftime("%Y-%m-%dT00:00:00Z"),  # noqa: DTZ007 (a day)
            "contact": {"email": self.email},
            "score": SCORE,
            "value": float(self.dollars),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The result of pushing the whole log once."""

    applied: int
    duplicate: int
    seconds: float
    memory: int  #: of `serve` at the end, in KiB
    export: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The results of both pushes, and the peak memory of `serve` in KiB."""

    in_order: Pushed
    shuffled: Pushed
    peak: int


def purchases(path: Path) -> list[Purchase]:
    """Load the log: a header line, then customer, day, number of CDs and dollars."""
    lines = (line.split() for line in path.read_text().splitlines()[1:] if line.strip())
    return [
        Purchase(line=number, customer=customer, day=day, dollars=Decimal(dollars))
        for number, (customer, day, _, dollars) in enumerate(lines, start=1)
    ]


async def replay(database_url: str, log: Sequence[Purchase], *, seed: int, shuffled_first: bool = False) -> Replayed:
    """Push the log into an empty database in order, then again shuffled, or the other way round."""
    env = environment(database_url)
    await _run_json(env, "workspace", "add", TEAM, "--name", "CDNOW")
    await _run_json(env, *f"type add {SCORE} --min 0 --max 100000 --step 0.01 --default".split())
    (secret,) = (await _run_json(env, "source", "add", SLUG))["secrets"]
    mixed = random.Random(seed).sample(log, len(log))
    orders = (mixed, log) if shuffled_first else (log, mixed)
    async with serving(env=env) as serve, session() as open_session:
        url = f"{serve.url}/webhooks/{TEAM}/{SLUG}"
        sender = Sender(open_session, url, clock=lambda: time.time_ns() // 1000, secret=secret)
        pushed = [
            await _push(sender, order, name=name, env=env, pid=serve.process.pid)
            for name, order in zip(("first", "again"), orders, strict=True)
        ]
        peak = _memory(serve.process.pid, "VmHWM")
        assert (await serve.stop()).code == 0
    return Replayed(in_order=pushed[shuffled_first], shuffled=pushed[not shuffled_first], peak=peak)


async def _run_json(env: dict[str, str], *words: str) -> Any:
    return (await run(*words, "--json", env=env)).document


async def _push(sender: Sender, order: Sequence[Purchase], *, name: str, env: dict[str, str], pid: int) -> Pushed:
    numbered = enumerate(order[start : start + BATCH] for start in range(0, len(order), BATCH))
    counts: Counter[str] = Counter()

    async def send() -> None:
        for number, batch in numbered:
            items = [event.item() for event in batch]
            answer = await sender.push({"items": items}, delivery=f"{name}-{number}")
            applied, duplicate, ignored, quarantined = answer.counts
            assert (ignored, quarantined) == (0, 0), answer.body[:500]
            counts.update(applied=applied, duplicate=duplicate)

    started = time.monotonic()
    await asyncio.gather(*(send() for _ in range(SENDERS)))
    seconds = time.monotonic() - started
    result = await run("export", "--json", env=env)
    assert (result.code, result.err) == (0, ""), result
    return Pushed(
        applied=counts["applied"],
        duplicate=counts["duplicate"],
        seconds=seconds,
        memory=_memory(pid, "VmRSS"),
        export=result.out,
    )


def _memory(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


def check(replayed: Replayed, log: Sequence[Purchase]) -> int:
    """Fail unless both exports equal the computed sums. Return the number of customers."""
    sums: dict[str, Decimal] = {}
    days: dict[str, str] = {}
    for event in log:
        sums[event.email] = sums.get(event.email, Decimal(0)) + event.dollars
        days[event.email] = max(days.get(event.email, ""), event.item()["occurred_at"])
    empty: dict[str, object] = {"ids": {}, "name": None, "company": None, "owner": None, "tags": [], "attributes": {}}
    expected = [
        {
            "email": email,
            **empty,
            "scores": {SCORE: {"value": value, "band": None, "as_of": days[email], "trend_30d": 0}},
        }
        for email, value in sorted(sums.items())
    ]
    contacts = json.loads(replayed.in_order.export, parse_float=Decimal)["contacts"]
    wrong = [pair for pair in zip(contacts, expected, strict=True) if pair[0] != pair[1]]
    assert not wrong, f"{len(wrong)} of {len(expected)} are not as expected: {wrong[:3]}"
    assert replayed.in_order.export == replayed.shuffled.export
    return len(contacts)


async def main() -> None:
    """Replay the log on each database, and print rates and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("database_url", nargs="*", help="of an empty database; by default a SQLite file of its own")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    log = purchases(words.file)
    with tempfile.TemporaryDirectory(prefix="contact-score-replay-") as folder:
        for url in words.database_url or [f"sqlite://{folder}/replay.db"]:
            replayed = await replay(url, log, seed=words.seed)
            customers = check(replayed, log)
            print(f"{url.partition(':')[0]}: {len(log):,} purchases of {customers:,} customers, in batches of {BATCH}")
            for name, run_ in (("in order", replayed.in_order), ("again, shuffled", replayed.shuffled)):
                print(
                    f"  {name}: {run_.applied:,} applied, {run_.duplicate:,} duplicates in {run_.seconds:.1f} s,"
                    f" {len(log) / run_.seconds:,.0f} a second; serve holds {run_.memory / 1024:.0f} MiB"
                )
            print(
                f"  every sum as expected, both exports the same; serve never held over {replayed.peak / 1024:.0f} MiB"
            )


if __name__ == "__main__":
    asyncio.run(main())
