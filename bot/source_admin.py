"""Functions and data about sources and subscriptions that the service injects: Slack does not import `webhooks`."""

import ipaddress
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from storage.domain.facts import ItemRequest
from storage.domain.people import Workspace
from storage.domain.sources import SetupStep, Source, SourceSettings
from storage.domain.submissions import Raw, Recorded

HIDDEN = "…"
#: the labels of the fields in the form of a source, by the option of `contact-score source set`
LABELS: Mapping[str, str] = {
    "secret": "Secret",
    "token": "Secret",
    "token-in": "Place of the token",
    "api-token": "API token",
    "map": "Which field is which score",
    "mapping": "Where each value is",
    "option": "Options",
    "public-url": "Address that it signs",
    "write-back": "Scores to write to it",
}
#: ends of host names that exist only in one network
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


#: about a source without an API token; what to type, or to press, follows
ONLY_IDS = "Its contacts are known by their ids alone; for addresses and names give it an API token:"


def explain_missing_token(slug: str) -> str:
    """Return a sentence for somebody at a terminal about a source without an API token."""
    return f"{ONLY_IDS} contact-score source set {slug} --api-token TOKEN"


def explain_unreachable(url: str) -> str | None:
    """Return why senders on the internet do not reach an address of this service, and what to set; None if they do."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    advice = "set CONTACT_SCORE_PUBLIC_URL to the address at which they reach the service, such as"
    example = "https://scores.example.com"
    if is_local(url):
        return f"Other machines do not reach {host}: {advice} {example}"
    if _is_private(host):
        return f"Senders on the internet do not reach {host}, an address of your own network: {advice} {example}"
    if parts.scheme != "https":
        return f"{host} is not called with https, so secrets and contacts can be read on the way: {advice} {example}"
    return None


def is_local(url: str) -> bool:
    """Return whether only this machine reaches an address."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)


def webhook_url(address: str, source: Source) -> str:
    """Return the URL to which a source sends; *address* is the public URL of the service."""
    return f"{address.rstrip('/')}/webhooks/{source.workspace.team}/{source.slug}"


def fill_steps(steps: Sequence[str], *, source: Source, url: str, secret: str = HIDDEN) -> list[str]:
    """Return the setup steps of a provider with the URL and the secret of a source."""
    return [step.format(url=url, secret=secret).replace("SLUG", source.slug) for step in steps]


def write_step_for_slack(step: SetupStep) -> str:
    """Return a setup step for somebody in Slack, who enters settings in a form."""
    if step.in_slack is not None or not step.settings:
        return step.in_slack or step.text
    entries = [
        f"{'it' if value.isupper() else f'`{value}`'} under “{LABELS[name]}”" for name, value in step.settings.items()
    ]
    return f"{step.text}: press Edit, and enter {' and '.join(entries)}"


class Configures(Protocol):
    """A function that validates options of a source and returns its settings and its new secrets. Raises a Refusal.

    The names of *options* are those of `SourceOptions`; *secret* is what the source's authentication needs. *before* is
    an existing source that is changed; without a new secret it keeps the current ones, and None is returned.
    """

    def __call__(
        self,
        workspace: Workspace,
        *,
        slug: str,
        provider: str,
        secret: str | None,
        options: Mapping[str, Any],
        before: Source | None = None,
    ) -> tuple[SourceSettings, tuple[str, ...] | None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """The providers of sources, and functions to configure, test and replay a source, and to add a subscription."""

    steps: Mapping[str, Sequence[SetupStep]]  #: provider → setup steps
    takes: Mapping[str, Collection[str]]  #: provider → the options that it uses, by the names of `SourceOptions`
    signed_with: Mapping[str, str]  #: provider that makes its secret itself → what it calls the secret
    id_only: Collection[str]  #: providers that send only contact ids, but return the contacts through an API
    address: str  #: the public URL of the service
    is_demo: bool = False  #: whether Slack and the service run on one machine, to try them
    configure: Configures
    #: (source, secret) → the next secret: the given one after validation, or a generated one; raises a Refusal
    next_secret: Callable[[Source, str | None], str]
    #: (source, stored request, delivery key) → (items, warnings) of a dry run
    attempt: Callable[[Source, Raw, str], tuple[Sequence[ItemRequest], Sequence[str]]]
    #: (workspace, delivery id, user, now) → the result of replaying a stored delivery; raises a Refusal
    replay: Callable[[Workspace, int, str, int], Awaitable[Recorded]]
    new_signing_secret: Callable[[], str]  #: returns a secret for a subscription
    #: URL → why no event could be sent to it now, or None
    find_address_problem: Callable[[str], Awaitable[str | None]]

    def url(self, source: Source) -> str:
        """Return the webhook URL of a source."""
        return webhook_url(self.address, source)

    def awaits_secret(self, source: Source) -> bool:
        """Return whether a source lacks the secret that its sender makes itself, so that its requests are refused."""
        return source.provider in self.signed_with and not source.secrets and not source.is_locked

    def explain_reach(self) -> str | None:
        """Return a sentence if senders elsewhere do not reach the webhook URLs, or None."""
        if self.is_demo:
            return "In this demo only programs on this machine reach the address. In your own Slack, your CRM will."
        return explain_unreachable(self.address)
