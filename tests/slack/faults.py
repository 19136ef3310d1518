"""Inject faults: rate limits, server errors, missing and late answers."""

import asyncio
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal[
    "rate_limited", "server_error", "unknown_method", "no_answer", "late", "dropped_after_accepting",
    "failed_after_accepting",
]  # fmt: skip  # names


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault to inject: the kind, the affected method, and how often.

    *method* is a Web API method, "response_url", "upload", or a pattern such as "chat.*" or "*". *retry_after* is in
    seconds. With rate_limited, server_error, unknown_method and no_answer, the call has no effect. With late, the call
    takes effect and the answer is held until `Faults.release`. With dropped_after_accepting, the call takes effect and
    the connection is closed. With failed_after_accepting, the call takes effect and the answer is an error, as Slack
    documents: docs.slack.dev/reference/methods/chat.postMessage
    """

    method: str
    kind: Kind
    times: int = 1
    retry_after: int = 1


class Faults:
    """The faults still to be injected, in the order in which they were added."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._held: list[asyncio.Event] = []

    def add(self, fault: Fault) -> None:
        self._waiting.extend([fault] * fault.times)

    def clear(self) -> None:
        """Remove all faults that were not injected yet."""
        self._waiting.clear()

    def take(self, method: str) -> Fault | None:
        """Remove and return the next fault for *method*, or None."""
        for fault in self._waiting:
            if fnmatchcase(method, fault.method):
                self._waiting.remove(fault)
                return fault
        return None

    @property
    def held(self) -> int:
        """Return the number of answers that are held now."""
        return len(self._held)

    async def hold(self) -> None:
        """Wait for `release`."""
        event = asyncio.Event()
        self._held.append(event)
        await event.wait()

    def release(self) -> None:
        """Release all held answers."""
        for event in self._held:
            event.set()
        self._held.clear()
