"""Define sources: how a configured sender authenticates, and how its deliveries are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from storage.domain.contacts import OWN_SOURCES, SLUG
from storage.domain.errors import BadName
from storage.domain.people import Workspace
from storage.domain.score_types import TAKEN_WORDS

DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class SetupStep:
    """A step of setting up a sender. It may change settings of the source.

    *text* may have the placeholders `{url}` and `{secret}`. *settings* are the options of `contact-score source set`
    that the step uses, without the dashes, each with an example value. *in_slack* is the step for somebody in Slack,
    if it is another one there.
    """

    text: str
    settings: Mapping[str, str] = field(default_factory=dict)
    in_slack: str | None = None

    def is_done(self, source: "Source") -> bool:
        """Return whether the source has every setting that the step is about."""
        settings = source.settings
        done = {
            "secret": bool(source.secrets),
            "token": bool(source.secrets),
            "token-in": settings.token_in == self.settings.get("token-in"),
            "api-token": source.reads,
            "map": bool(settings.map),
            "mapping": settings.mapping is not None,
            "option": self.settings.get("option", "").partition("=")[0] in settings.options,
            "public-url": settings.public_url is not None,
            "write-back": bool(settings.write_back),
        }
        return bool(self.settings) and all(done[name] for name in self.settings)

    @property
    def in_terminal(self) -> str:
        """The step for somebody at a terminal. SLUG stands for the name of the source."""
        options = "".join(f" --{name} {value}" for name, value in self.settings.items())
        return f"{self.text}: contact-score source set SLUG{options}" if options else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """The settings of a source that are not secret.

    The settings define what the *secrets* of the source are: passwords if *username* is set, tokens if *token_in* is
    set (`bearer`, `header:NAME`, `query:NAME`, `form:NAME`), signing secrets otherwise.
    """

    username: str | None = None
    token_in: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)  #: the sender's property → the key of a score type
    public_url: str | None = None  #: the URL that the sender includes in its signature
    options: Mapping[str, str] = field(default_factory=dict)  #: options of the provider
    recipe: str | Mapping[str, object] | None = None  #: the signature recipe: its name, or the recipe as data
    mapping: Mapping[str, str] | None = None  #: where to find each field in a custom sender's bodies
    muted: bool = False  #: its deliveries open no follow-ups
    paused: bool = False  #: its deliveries are refused with a request to retry later
    rate: str | None = None  #: the rate limit, as `200/s`
    api_url: str | None = None  #: the base URL of its API, in place of the provider's default
    link: str | None = None  #: the address of a contact in the sender's own pages; `{id}` stands for the contact's id
    #: the key of a score type → the sender's property that it is written to
    write_back: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured sender. Its repr shows no secrets, so that logs never contain them."""

    id: int
    workspace: Workspace
    slug: str
    provider: str
    secrets: tuple[str, ...] = field(repr=False)  #: newest first
    retiring: Mapping[str, int] = field(default_factory=dict, repr=False)  #: a secret → its last valid instant, in µs
    settings: SourceSettings = field(default_factory=SourceSettings)
    score_types: tuple[str, ...] = ()  #: the keys of the score types of its workspace
    reads: bool = False  #: whether it has an API token to fetch what its deliveries leave out
    is_locked: bool = False  #: whether its secrets need a key that this process does not have; *secrets* is empty then
    version: int | None = field(default=None, compare=False)  #: changes with the settings of its workspace

    def at(self, now: int) -> "Source":
        """Return the source without the secrets that have expired by *now*."""
        if not self.retiring:
            return self
        return replace(self, secrets=tuple(secret for secret in self.secrets if self.retiring.get(secret, now) >= now))

    def score_type(self, name: str) -> str | None:
        """Return the key of the score type for a sender's property: the mapped one, or the same name, or None.

        A property that scores are written to is not read.
        """
        if self.writes(name):
            return None
        return self.settings.map.get(name) or (name if name in self.score_types else None)

    def writes(self, name: str) -> bool:
        """Return whether scores are written to a property of the sender."""
        return name in self.settings.write_back.values()


def check_link(link: str) -> str | None:
    """Return the template of a link to a contact, None for a blank one. Raises BadName if it is no such template."""
    if not link.strip():
        return None
    parts = urlsplit(link.strip())
    has_forbidden = any(character in ' <>|"' or not character.isprintable() for character in link.strip())
    if parts.scheme not in ("https", "http") or not parts.hostname or "{id}" not in link or has_forbidden:
        raise BadName(
            f"`{link[:80]}` is not the address of a contact: write it with {{id}}, such as"
            " https://app.hubspot.com/contacts/PORTAL/contact/{id}"
        )
    return link.strip()


def check_slug(slug: str, *, score_types: tuple[str, ...] = ()) -> None:
    """Raise BadName if a source cannot have the slug, because `slug:id` would read as a filter or a score."""
    if not SLUG.fullmatch(slug):
        raise BadName(f"`{slug}` cannot name a source: use up to 40 lowercase letters, digits and -, a letter first")
    if slug in TAKEN_WORDS or slug in score_types or slug in OWN_SOURCES:
        raise BadName(f"`{slug}` is reserved; choose another name, for example `{slug}-crm`")
