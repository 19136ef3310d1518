"""Run one installed version of `contact-score` from outside, with a clock that the test sets."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from aiohttp import ClientSession

from tests.bot.cli.program import Ended
from tests.processes import Process, start
from tests.upgrade.slack import BOT_TOKEN, SIGNING_SECRET, TEAM, Json, Slack
from tests.webhooks.sender import SECRET, encoded, signed

AT_TIME = Path(__file__).with_name("at_time.py")
KEY = "dXBncmFkZS10ZXN0LW9ubHktbm90LWEtc2VjcmV0ISE="  # a Fernet key made up for this test
LISTENING = re.compile(r"Listening on (http://\S+)")
PATIENCE = 120.0


class Clock:
    """A clock that starts at an instant and advances with real time."""

    def __init__(self, start: datetime) -> None:
        self.shift = int(start.timestamp() * 1e9) - time.time_ns()

    def __call__(self) -> float:
        """Return the time in seconds since 1970."""
        return (time.time_ns() + self.shift) / 1e9

    def set(self, start: datetime) -> None:
        """Set the clock to an instant; running programs keep their own."""
        self.shift = int(start.timestamp() * 1e9) - time.time_ns()


def crm_request(items: list[Json], *, delivery: str, at: float) -> Json:
    """Return a signed delivery of items from the CRM at a time in seconds."""
    body = encoded({"items": items})
    headers = signed(body, delivery=delivery, at=int(at * 1e6), secret=SECRET)
    headers |= {"Content-Type": "application/json"}
    return {"slug": "crm", "path": f"/webhooks/{TEAM}/crm", "headers": headers, "body": body.decode()}


async def deliver(url: str, request: Json) -> str:
    """Send a request to the product, and return the body. Fail unless the status is 200."""
    async with (
        ClientSession() as session,
        session.post(url + request["path"], data=request["body"].encode(), headers=request["headers"]) as response,
    ):
        text = await response.text()
        assert response.status == 200, (request["slug"], response.status, text)
        return text


@dataclass(slots=True, kw_only=True)
class Served:
    """A running `contact-score serve`."""

    process: Process
    lines: list[str] = field(default_factory=list)  #: of standard error, complete once the process has ended
    reading: asyncio.Task[None]

    async def stop(self) -> None:
        """Send SIGTERM. Fail unless the process exits with 0, and has logged nothing worse than a warning."""
        self.process.terminate()
        assert await self._ended() == 0
        logged = [json.loads(line) for line in self.lines if line.startswith("{")]
        assert not [line for line in logged if line["level"] not in ("info", "warning")]

    async def kill(self) -> int:
        """Send SIGKILL, and return the exit code."""
        self.process.send_signal(signal.SIGKILL)
        return await self._ended()

    async def _ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            await self.reading
        return code


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """An installed version with a database."""

    python: str = sys.executable
    database_url: str
    clock: Clock

    async def _start(self, *words: str, stdout: int | None = None, **more: str) -> Process:
        program = Path(self.python).with_name("contact-score")
        command = (str(AT_TIME), str(self.clock.shift), str(program), *words)
        if self.python == sys.executable:
            return await start(*command, env=self._environment(**more), stdout=stdout, stderr=PIPE)
        return await asyncio.create_subprocess_exec(
            self.python, *command, env=self._environment(**more), stdout=stdout, stderr=PIPE
        )

    def _environment(self, **more: str) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        settings = {"CONTACT_SCORE_DATABASE_URL": self.database_url, "CONTACT_SCORE_SECRET_KEYS": KEY}
        return {**inherited, **settings, "CONTACT_SCORE_PORT": "0", "CONTACT_SCORE_LOG_FORMAT": "json", **more}

    async def run(self, *words: str) -> Ended:
        """Run a command to its end, and return its result."""
        process = await self._start(*words, stdout=PIPE)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(code=process.returncode, out=out.decode(), err=err.decode())

    async def say(self, *words: str) -> str:
        """Run a command, and return what it printed. Fail if the command failed."""
        result = await self.run(*words)
        assert result.code == 0, (words, result)
        return result.out

    @asynccontextmanager
    async def serve(self, slack: Slack) -> AsyncIterator[Served]:
        """Run `serve` connected to a Slack. At the end stop the process, or kill it after a failure."""
        process = await self._start(
            "serve", SLACK_API_URL=slack.url, SLACK_BOT_TOKEN=BOT_TOKEN, SLACK_SIGNING_SECRET=SIGNING_SECRET
        )
        lines = list[str]()
        connected = asyncio.Event()

        async def read() -> None:
            assert process.stderr is not None
            while line := (await process.stderr.readline()).decode():
                lines.append(line.rstrip("\n"))
                if "connected to Slack" in line and "not" not in line:
                    connected.set()
            connected.set()

        reading = asyncio.create_task(read())
        try:
            async with asyncio.timeout(PATIENCE):
                await connected.wait()
            match_ = next((match for line in lines if (match := LISTENING.search(line))), None)
            assert match_ is not None, lines
            slack.app_url = match_[1]
            served = Served(process=process, lines=lines, reading=reading)
            yield served
            if process.returncode is None:
                await served.stop()
        except BaseException:
            print(*lines[-40:], sep="\n", file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading
