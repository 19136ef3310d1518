"""Describe a configured sender: how it proves itself, and how what it says is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from storage.domain.people import Workspace

DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """What was said of a source beside its secrets; nothing of it is secret.

    *secrets* of the source are passwords where there is a *username*, tokens where there is a *token_in*
    (`bearer`, `header:NAME`, `query:NAME`, `form:NAME`), and signing secrets otherwise.
    """

    username: str | None = None
    token_in: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)  #: the sender's property → our score type
    public_url: str | None = None  #: the address that the sender signs
    options: Mapping[str, str] = field(default_factory=dict)
    recipe: str | Mapping[str, object] | None = None  #: how it signs: a name, or a recipe as data
    mapping: Mapping[str, str] | None = None  #: where things stand in its bodies
    muted: bool = False  #: its deliveries ask for no follow-up
    paused: bool = False  #: nothing is taken of it; its sender is told to come again
    rate: str | None = None  #: what is taken of it, as `200/s`
    api_url: str | None = None  #: where its API is, in place of its provider's


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured sender; its secrets, newest first, never show in a log."""

    id: int
    workspace: Workspace
    slug: str
    provider: str
    secrets: tuple[str, ...] = field(repr=False)
    retiring: Mapping[str, int] = field(default_factory=dict, repr=False)  #: a secret → until when it is taken, in µs
    settings: SourceSettings = field(default_factory=SourceSettings)
    score_types: tuple[str, ...] = ()  #: the keys that there are in its workspace
    reads: bool = False  #: it has an API token, with which what its deliveries leave out is read

    def at(self, now: int) -> "Source":
        """Give it without the secrets that are no longer taken."""
        if not self.retiring:
            return self
        return replace(self, secrets=tuple(secret for secret in self.secrets if self.retiring.get(secret, now) >= now))

    def score_type(self, name: str) -> str | None:
        """Give the score type that a property of the sender is: the mapped one, or the one of the same name."""
        return self.settings.map.get(name) or (name if name in self.score_types else None)
