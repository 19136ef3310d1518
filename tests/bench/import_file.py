"""Measure the import of a CSV file beside COPY (PostgreSQL) or executemany (SQLite) of the rows that it makes.

The rows of the floor are ready before it begins: its time is that of writing them, with the same indexes."""

import asyncio
import csv
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.fill import SCORES, fill, person
from tests.bench.harness import (
    FLOOR,
    PRODUCT,
    TEAM,
    Options,
    Row,
    Stage,
    find_postmaster,
    furnish,
    now,
    read_memory,
    server_cpu,
    verify,
)
from tests.bot.cli.program import PROGRAM, environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The time and the CPU time of an import in seconds, and the most memory that it used, in MB."""

    seconds: float
    cpu: float
    memory: float = 0


async def measure(stage: Stage, options: Options) -> AsyncIterator[Row]:
    """Yield the cost and the rate of an import into an empty workspace, and the memory of the command."""
    contacts = options.contacts
    with tempfile.TemporaryDirectory(prefix="contact-score-import-") as folder:
        path = Path(folder) / "contacts.csv"
        write_csv(path, contacts=contacts)
        for dialect in options.databases:
            floors, products = [], []
            for _ in range(options.rounds):
                async with stage.database(dialect, FLOOR) as url:
                    floors.append(await _fill(url, contacts=contacts))
                async with stage.database(dialect, PRODUCT) as url:
                    products.append(await _import(url, path))
            for what, unit, value in (
                ("a contact with three scores", "µs CPU", lambda result: result.cpu / contacts * 1e6),
                ("contacts", "/s", lambda result: contacts / result.seconds),
            ):
                floor, product = (statistics.median(map(value, results)) for results in (floors, products))
                yield Row(what=what, database=dialect, unit=unit, floor=floor, product=product)
            memory = max(result.memory for result in products)
            yield Row(what=f"memory, {contacts:,} contacts", database=dialect, unit="MB", floor=None, product=memory)


def write_csv(path: Path, *, contacts: int) -> None:
    """Write the file to import."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["email", "name", "company", "owner", "tags", *SCORES])
        for contact in map(person, range(1, contacts + 1)):
            scores = [contact.scores[score] for score in SCORES]
            writer.writerow(
                [contact.email, contact.name, contact.company, contact.owner, ",".join(contact.tags), *scores]
            )


async def _fill(url: str, *, contacts: int) -> Imported:
    await furnish(url, contacts=0)
    postmaster = await find_postmaster(url)
    filled = await fill(
        url, team=TEAM, contacts=contacts, now=now(), clock=lambda: time.process_time() + server_cpu(postmaster)
    )
    await verify(url)
    return Imported(seconds=filled.seconds, cpu=filled.cpu)


async def _import(url: str, path: Path) -> Imported:
    await furnish(url, contacts=0)
    postmaster = await find_postmaster(url)
    began, cpu = time.perf_counter(), server_cpu(postmaster)
    own, memory = await asyncio.to_thread(_run, [PROGRAM, "import", path, "--yes"], environment(url))
    seconds, of_server = time.perf_counter() - began, server_cpu(postmaster) - cpu
    await verify(url)
    return Imported(seconds=seconds, cpu=own + of_server, memory=memory)


def _run(command: Sequence[str | Path], env: Mapping[str, str]) -> tuple[float, float]:
    """Run a command that must succeed. Return its CPU time in seconds, and the most memory that it used, in MB."""
    memory, pid = 0.0, 0
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        while not pid:
            # `ru_maxrss` would count this process, too, which the command is forked from.
            memory = read_memory(process.pid, peak=True) or memory
            time.sleep(0.02)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime, memory
