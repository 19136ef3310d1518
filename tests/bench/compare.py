"""Measure the product beside the floor, and print one table.

python -m tests.bench.compare [BENCH …] [--contacts 1000000] [--events N] [--rounds N] [--database sqlite]

Without names all benches run. *of floor* is the product's speed as a part of the floor's: 0.5 is half as fast.
Costs are CPU times, which depend less on what else the machine does; on PostgreSQL they include its server's.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping

from tests.bench import batch, flood, growth, import_file, ingest, memory, queries, replicas, slash
from tests.bench.harness import Options, Row, Stage, open_stage

Bench = Callable[[Stage, Options], AsyncIterator[Row]]
BENCHES: Mapping[str, Bench] = {
    "ingest": ingest.measure,
    "batch": batch.measure,
    "import": import_file.measure,
    "growth": growth.measure,
    "queries": queries.measure,
    "slash": slash.measure,
    "memory": memory.measure,
    "replicas": replicas.measure,
    "flood": flood.measure,
}


def format_table(rows: list[tuple[str, Row]]) -> list[str]:
    """Return the lines of the table."""
    head = ("bench", "what", "database", "unit", "floor", "product", "of floor")
    cells = [
        (
            bench,
            row.what,
            row.database,
            row.unit,
            format_numbers(row.floor, row.floor_p99),
            format_numbers(row.product, row.product_p99),
            "—" if row.share is None else f"{row.share:.2f}" if row.share >= 0.1 else f"{row.share:.3f}",
        )
        for bench, row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *cells)]
    return [line.rstrip() for line in (lines[0], "-|-".join("-" * width for width in widths), *lines[1:])]


def format_numbers(value: float | None, p99: float | None) -> str:
    """Format a number, or a median with its 99th percentile."""
    if value is None:
        return "—"
    return format_number(value) if p99 is None else f"{format_number(value)} / {format_number(p99)}"


def format_number(value: float) -> str:
    """Format a number with three digits, or more if it has more before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


async def compare(names: list[str], options: Options) -> list[tuple[str, Row]]:
    """Run the benches, and print each row as soon as it is measured."""
    rows: list[tuple[str, Row]] = []
    async with open_stage() as stage:
        for name in names:
            async for row in BENCHES[name](stage, options):
                rows.append((name, row))
                number = format_numbers(row.product, row.product_p99)
                print(f"{name}: {row.what}, {row.database}: {number} {row.unit}", flush=True)
    return rows


def main() -> None:
    """Run the benches that are named, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Options()
    parser.add_argument("bench", nargs="*", help=", ".join(BENCHES))
    parser.add_argument("--contacts", type=int, default=default.contacts)
    parser.add_argument("--events", type=int, default=default.events)
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--database", choices=default.databases, action="append", dest="databases")
    words = parser.parse_args()
    names = words.bench or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"no bench is called {unknown[0]}; there are {', '.join(BENCHES)}")
    options = Options(
        contacts=words.contacts,
        events=words.events,
        rounds=words.rounds,
        databases=words.databases or default.databases,
    )
    before = os.getloadavg()[0]
    rows = asyncio.run(compare(names, options))
    print("\n".join(["", *format_table(rows), ""]))
    print(
        f"{options.contacts:,} contacts, {options.events:,} events a round, {options.rounds} rounds;"
        f" {os.cpu_count()} cores, load {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    )


if __name__ == "__main__":
    main()
