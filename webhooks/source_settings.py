"""Validate the settings that an operator enters for a source, and convert them to stored settings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from storage.domain.errors import Refusal, UnknownScoreType
from storage.domain.people import Workspace
from storage.domain.score_types import check_key
from storage.domain.sources import Source, SourceSettings, check_link
from webhooks.authentication.credentials import PLACES, Authenticator, Basic, Organization, Signature
from webhooks.authentication.recipes import recipes
from webhooks.limits import read_rate
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import Provider
from webhooks.read.mapping import BadMapping, check_mapping

_ORGANIZATION = re.compile(r"00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """The options of the command line; None for an option that was not used."""

    secrets: Sequence[str] = field(default=(), repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_in: str | None = None
    map: Sequence[str] = ()
    public_url: str | None = None
    options: Sequence[str] = ()
    recipe: str | Mapping[str, object] | None = None
    mapping: object = None
    muted: bool | None = None
    rate: str | None = None
    api_token: str | None = field(default=None, repr=False)  #: a blank deletes the current token
    api_url: str | None = None
    link: str | None = None  #: a blank deletes the current link


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The settings and secrets to store. *secrets* None keeps the current secrets."""

    settings: SourceSettings
    secrets: tuple[str, ...] | None = field(repr=False)


def find_provider(name: str) -> Provider:
    """Return a provider by its name; raises Refusal."""
    if name not in PROVIDERS:
        raise Refusal(f"there is no provider `{name}`; choose from {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def used_options(provider: str) -> frozenset[str]:
    """Return the names of the fields of `SourceOptions` that a provider uses, besides those that all providers use."""
    spec = PROVIDERS[provider]
    names = set(spec.takes)
    names |= {"options"} if spec.all_options else set()
    names |= {"token_in"} if "token" in spec.takes else set()
    return frozenset(names | ({"api_token", "api_url"} if spec.readback is not None else set()))


def authenticator_for(workspace: Workspace, *, slug: str, provider: str, settings: SourceSettings) -> Authenticator:
    """Return the authenticator of a source with these settings."""
    source = Source(id=0, workspace=workspace, slug=slug, provider=provider, secrets=(), settings=settings)
    return PROVIDERS[provider].proof(source)


def configure(
    workspace: Workspace,
    *,
    slug: str,
    provider: str,
    options: SourceOptions,
    before: Source | None = None,
    always_generates: bool = False,
) -> Configured:
    """Return the validated settings and secrets for a new source, or for the existing source *before*.

    Raises Refusal, with advice, for options that do not suit the provider. A new source without a secret gets a random
    secret if its authentication needs one and the sender does not make it itself, or with *always_generates*.
    """
    spec = find_provider(provider)
    _check_options_used(provider, spec, options)
    settings = _merge_settings(
        slug, provider, spec, options, before.settings if before is not None else SourceSettings()
    )
    proof = authenticator_for(workspace, slug=slug, provider=provider, settings=settings)
    if options.secrets and not isinstance(proof, Signature):
        option = "--password" if isinstance(proof, Basic) else "--token"
        raise Refusal(f"`{provider}` signs nothing here, so it takes no --secret; use {option}")
    if options.api_token and (not options.api_token.isascii() or not options.api_token.isprintable()):
        raise Refusal("an API token is printable ASCII characters, as the sender shows it: --api-token TOKEN")
    new_secrets = [*options.secrets, *(secret for secret in (options.password, options.token) if secret is not None)]
    for secret in new_secrets:
        check_secret(proof, secret)
    if before is not None and not new_secrets:
        for secret in before.secrets:
            check_secret(proof, secret)  # the current secrets must suit the new authentication
        return Configured(settings=settings, secrets=None)
    if new_secrets:
        return Configured(settings=settings, secrets=tuple(new_secrets))
    brings_its_own = bool(spec.signed_with) and not always_generates
    needs_no_secret = brings_its_own or (isinstance(proof, Organization) and proof.token is None)
    return Configured(settings=settings, secrets=() if needs_no_secret else (proof.new_secret(),))


def awaits_secret(source: Source) -> bool:
    """Return whether a source lacks the secret that its sender makes itself; its requests are refused until then."""
    return bool(PROVIDERS[source.provider].signed_with) and not source.secrets and not source.is_locked


def explain_missing_secret(source: Source) -> str:
    """Return what to do about a source that awaits the secret of its sender."""
    return f"give it {PROVIDERS[source.provider].signed_with}: contact-score source set {source.slug} --secret SECRET"


def unknown_score_types(source: Source) -> list[str]:
    """Return a warning for each property that is mapped to a missing score type, which may be created later."""
    return [
        f"`{name}` is mapped to a score type that does not exist: {UnknownScoreType(key, known=source.score_types)}."
        f" Add it: contact-score type add {key}"
        for name, key in source.settings.map.items()
        if key not in source.score_types
    ]


def with_secret(options: SourceOptions, secret: str, *, proof: Authenticator) -> SourceOptions:
    """Return the options with a secret set as what *proof* needs: a signing secret, a password or a token."""
    if isinstance(proof, Signature):
        return replace(options, secrets=(secret,))
    return replace(options, password=secret) if isinstance(proof, Basic) else replace(options, token=secret)


def next_secret(source: Source, secret: str | None) -> str:
    """Return the next secret of a source: *secret*, or a random one if it is None. Raises Refusal."""
    proof = authenticator_for(source.workspace, slug=source.slug, provider=source.provider, settings=source.settings)
    if source.is_locked:
        raise Refusal(
            f"the secret of `{source.slug}` needs a key that is missing, so it cannot stay valid for another day;"
            f" set a new one instead: contact-score source set {source.slug} --secret …"
        )
    if awaits_secret(source):
        raise Refusal(f"`{source.slug}` has no secret yet; {explain_missing_secret(source)}")
    if not source.secrets:
        raise Refusal(
            f"`{source.slug}` has no secret to rotate; give it a token:"
            f" contact-score source set {source.slug} --token …"
        )
    new_secret = secret if secret is not None else proof.new_secret()
    check_secret(proof, new_secret)
    return new_secret


def check_secret(proof: Authenticator, secret: str) -> None:
    """Raise Refusal, with a sentence that does not repeat the secret, if it has the wrong form for *proof*."""
    try:
        proof.check_secret(secret)
    except ValueError as exc:
        raise Refusal(str(exc)) from exc


def _check_options_used(provider: str, spec: Provider, options: SourceOptions) -> None:
    values = {
        "map": options.map,
        "username": options.username or options.password,
        "token": options.token or options.token_in,
        "recipe": options.recipe,
        "mapping": options.mapping,
        "public_url": options.public_url,
        "api_token": options.api_token if spec.readback is None else None,
        "api_url": options.api_url if spec.readback is None else None,
    }
    for name, value in values.items():
        if value and name not in spec.takes:
            raise Refusal(f"`{provider}` takes no --{name.replace('_', '-')}")
    proof_options = [name for name in ("username", "token", "recipe") if values[name]]
    if len(proof_options) > 1:
        raise Refusal(f"choose one way to prove it is the sender: --{proof_options[0]} or --{proof_options[1]}")


def _merge_settings(
    slug: str, provider: str, spec: Provider, options: SourceOptions, before: SourceSettings
) -> SourceSettings:
    property_map = _parse_pairs(options.map, "--map", "PROPERTY=TYPE")
    for key in property_map.values():
        check_key(key)
    settings = replace(
        before,
        map={**before.map, **property_map},
        options=_merge_options(
            provider, spec, {**before.options, **_parse_pairs(options.options, "--option", "KEY=VALUE")}
        ),
        public_url=_check_address(options.public_url, "--public-url https://scores.example.com/webhooks/…")
        or before.public_url,
        api_url=_check_address(options.api_url, "--api-url https://api.example.com") or before.api_url,
        muted=before.muted if options.muted is None else options.muted,
        link=before.link if options.link is None else check_link(options.link),
    )
    try:
        if options.rate is not None:
            read_rate(options.rate)
            settings = replace(settings, rate=options.rate)
        if options.mapping is not None:
            settings = replace(settings, mapping=check_mapping(options.mapping))
        if options.recipe is not None:
            recipes(options.recipe)
            settings = replace(settings, recipe=options.recipe, username=None, token_in=None)
    except (BadMapping, ValueError) as exc:
        raise Refusal(str(exc)) from exc
    return _choose_proof_settings(slug, spec, options, settings)


def _choose_proof_settings(
    slug: str, spec: Provider, options: SourceOptions, settings: SourceSettings
) -> SourceSettings:
    """Return the settings with one way to authenticate: a user name, or a place of the token."""
    if options.username is not None or options.password is not None or (spec.username and settings.username is None):
        name = options.username or settings.username or (slug if spec.username else None)
        if name is None:
            raise Refusal("a password needs a user name: --username NAME --password PASSWORD")
        if ":" in name or not name.isprintable() or len(name) > 200:
            raise Refusal("a user name has 1 to 200 printable characters, and no colon")
        return replace(settings, username=name, token_in=None, recipe=None)
    if options.token is not None or options.token_in is not None:
        place = _check_token_place(options.token_in or settings.token_in or "bearer")
        return replace(settings, token_in=place, username=None, recipe=None)
    takes_token = "token" in spec.takes and "username" in spec.takes
    if takes_token and settings.username is None and settings.recipe is None and settings.token_in is None:
        return replace(settings, token_in=PLACES[0])  # no source may be without authentication
    return settings


def _check_token_place(text: str) -> str:
    place, _, name = text.partition(":")
    if place not in PLACES or (place == "bearer") != (name == "") or (name and not _NAME.fullmatch(name)):
        raise Refusal(f"`{text[:60]}` is not a place for a token: bearer, header:NAME, query:NAME or form:NAME")
    return text


def _check_address(url: str | None, example: str) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refusal(f"`{url[:80]}` is not an address: {example}")
    return url


def _merge_options(provider: str, spec: Provider, options: Mapping[str, str]) -> dict[str, str]:
    for name, value in options.items():
        if name not in spec.all_options:
            names = ", ".join(spec.all_options) or "none"
            raise Refusal(f"`{provider}` has no option `{name[:40]}`; its options: {names}")
        allowed = spec.all_options[name]
        if allowed and value not in allowed:
            raise Refusal(f"the option `{name}` is {' or '.join(allowed)}, not `{value[:40]}`")
    organization = options.get("organization_id", "")
    if "organization_id" in spec.options and not _ORGANIZATION.fullmatch(organization):
        raise Refusal(
            "the Salesforce organization is missing: give --option organization_id=00D…"
            " (15 or 18 characters, in Setup under Company Information)"
        )
    return dict(options)


def _parse_pairs(texts: Sequence[str], option: str, shape: str) -> dict[str, str]:
    """Return the NAME=VALUE texts as a dict. `--map` splits at the last equals sign, as a property may have others."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=") if option == "--map" else text.partition("=")
        if not (name and equals and value):
            raise Refusal(f"`{text[:60]}` cannot be read: write {option} {shape}")
        if pairs.setdefault(name, value) != value:
            both = f"{option} {name}={pairs[name]} and {option} {text}"
            raise Refusal(f"`{name[:60]}` is given twice, {both}; give it once")
    return pairs
