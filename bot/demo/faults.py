"""Misbehave on request: too many requests, a broken server, no answer, a late one."""

import asyncio
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["rate_limited", "server_error", "no_answer", "late", "dropped_after_accepting", "failed_after_accepting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    What goes wrong, where, and how often.

    *method* is a Web API method, "response_url", "upload", or a pattern such as "chat.*" or "*".
    rate_limited, server_error and no_answer do nothing of what was asked. late does it and holds the answer
    until `Faults.release`; dropped_after_accepting does it and closes the connection; failed_after_accepting does it
    and says that something went wrong meanwhile, as Slack may: docs.slack.dev/reference/methods/chat.postMessage
    """

    method: str
    kind: Kind
    times: int = 1
    retry_after: int = 1


class Faults:
    """What is still to go wrong, first added first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._held: list[asyncio.Event] = []

    def add(self, fault: Fault) -> None:
        self._waiting.extend([fault] * fault.times)

    def clear(self) -> None:
        """Forget what has not gone wrong yet."""
        self._waiting.clear()

    def take(self, method: str) -> Fault | None:
        """The next fault that *method* meets, used up by this."""
        for fault in self._waiting:
            if fnmatchcase(method, fault.method):
                self._waiting.remove(fault)
                return fault
        return None

    @property
    def held(self) -> int:
        """How many answers are held back at this moment."""
        return len(self._held)

    async def hold(self) -> None:
        """Wait for `release`."""
        event = asyncio.Event()
        self._held.append(event)
        await event.wait()

    def release(self) -> None:
        """Let every held answer go."""
        for event in self._held:
            event.set()
        self._held.clear()
