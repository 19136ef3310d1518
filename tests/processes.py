"""Run Python in processes of its own, beside the test."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import storage

HOUSE = Path(storage.__file__).parents[1]


async def start(*arguments: str, house: Path = HOUSE) -> asyncio.subprocess.Process:
    """Start Python with the packages in the folder *house*."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(*arguments: str, house: Path = HOUSE) -> str:
    """Run Python and return its output. Fail with its standard error if it fails."""
    return await _end(await start(*arguments, house=house))


async def at_once(commands: Sequence[Sequence[str]], *, house: Path = HOUSE) -> list[str]:
    """Run several programs that print a line when ready; all of them continue once every one is ready."""
    processes = [await start(*command, house=house) for command in commands]
    for process in processes:
        assert process.stdout is not None
        await process.stdout.readline()
    return await asyncio.gather(*(_end(process) for process in processes))


async def _end(process: asyncio.subprocess.Process) -> str:
    output, complained = await process.communicate(b"go\n")
    assert process.returncode == 0, complained.decode()
    return output.decode()
