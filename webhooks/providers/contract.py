"""Say what a provider does: tell an authentic request, and read the items out of its body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.domain.facts import Item, Unusable


class BadBody(Exception):
    """The body is authentic but cannot be read."""


class NotAuthentic(Exception):
    """The request is not authentic; *reason* and *hint* are for whoever keeps the source, never for the sender."""

    def __init__(self, *, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A delivery as it arrived; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Provider(Protocol):
    """One kind of sender."""

    content_types: tuple[str, ...]
    #: what to do at the sender's side, a step a line; `{url}` and `{secret}` are filled in
    steps: tuple[str, ...]

    def authenticate(self, request: Request, *, secrets: Sequence[str], now: int) -> str:
        """Give the delivery's id; raises NotAuthentic, whatever a stranger may have sent."""

    def items(self, body: bytes, *, delivery: str, source: str) -> list[Item | Unusable]:
        """Read the items out of an authentic body; raises BadBody where it cannot be read at all."""

    def new_secret(self) -> str:
        """Make a secret for a new source."""

    def check_secret(self, secret: str) -> None:
        """Raise ValueError, with a sentence, for a secret that cannot be one."""

    def sign(self, body: bytes, *, delivery: str, secret: str, now: int) -> dict[str, str]:
        """Make the headers that a test delivery needs."""
