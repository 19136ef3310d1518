"""Add, list, show, set, rotate and remove sources."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, Team, run, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from bot.source_admin import explain_missing_token
from storage.bootstrap import Storage
from storage.domain.errors import Refusal
from storage.domain.source_health import SourceHealth
from storage.domain.sources import DAY, Source
from storage.sources.config import add_source, find_source, remove_source, rotate_source, set_source, sources
from storage.sources.deliveries import count_recent
from storage.sources.health import list_troubled
from storage.sources.readback_queue import readback_status
from webhooks.providers import PROVIDERS
from webhooks.source_settings import Given, configure, find_provider, next_secret, unknown_score_types

app = typer.Typer(no_args_is_help=True, help="Sources: the systems that send scores.")

HIDDEN = "…"
TOKEN_PLACES = {
    "header": "in the header {name}: {token}",
    "query": "at the end of the address: ?{name}={token}",
    "form": "in a field of the form: {name}={token}",
}
Secret = Annotated[list[str] | None, typer.Option(help="A signing secret of the sender; repeat it while rotating.")]
Username = Annotated[str | None, typer.Option(help="HTTP Basic: the user name.")]
Password = Annotated[str | None, typer.Option(help="HTTP Basic: the password.")]
Token = Annotated[str | None, typer.Option(help="A token that the sender sends along.")]
TokenIn = Annotated[str | None, typer.Option(help="Where: bearer, header:NAME, query:NAME or form:NAME.")]
Map = Annotated[
    list[str] | None, typer.Option("--map", metavar="PROPERTY=TYPE", help="Which field of the sender is which score.")
]
PublicUrl = Annotated[str | None, typer.Option(help="The address the sender signs, where another one reaches us.")]
Option = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="What this provider alone wants to know.")
]
Recipe = Annotated[str | None, typer.Option(metavar="NAME|FILE.json", help="How the sender signs.")]
MappingFile = Annotated[
    Path | None, typer.Option("--mapping", metavar="FILE.json", exists=True, dir_okay=False, help="Where things stand.")
]
Muted = Annotated[bool | None, typer.Option("--muted/--no-muted", help="Its deliveries ask for no follow-up.")]
ApiToken = Annotated[
    str | None,
    typer.Option(help="A token of the sender's API, where it sends ids alone; a blank one takes it away."),
]
ApiUrl = Annotated[str | None, typer.Option(help="Where the sender's API is, in place of its own address.")]
Rate = Annotated[str | None, typer.Option(help="The most that is taken of it: 200/s, 1000/min, 5000/h.")]


@app.command()
def add(
    slug: Annotated[str, typer.Argument(help="A short name: crm, hubspot-eu.")],
    provider: Annotated[str, typer.Option(help=f"What sends: {', '.join(PROVIDERS)}.")] = "generic",
    secret: Secret = None,
    username: Username = None,
    password: Password = None,
    token: Token = None,
    token_in: TokenIn = None,
    map: Map = None,
    public_url: PublicUrl = None,
    option: Option = None,
    recipe: Recipe = None,
    mapping: MappingFile = None,
    muted: Muted = None,
    rate: Rate = None,
    api_token: ApiToken = None,
    api_url: ApiUrl = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Configure a sender; its secret is shown this once."""

    async def body(_: Storage, settings: Settings) -> None:
        chosen = find_provider(provider)
        workspace = await the_workspace(team)
        given = Given(
            secrets=secret or (), username=username, password=password, token=token, token_in=token_in,
            map=map or (), public_url=public_url, options=option or (), recipe=_recipe(recipe),
            mapping=json_file(mapping), muted=muted, rate=rate, api_token=api_token, api_url=api_url,
        )  # fmt: skip  # as the options stand above
        configured = configure(workspace, slug=slug, provider=provider, given=given)
        secrets = configured.secrets or ()
        made = await add_source(
            workspace, slug=slug, provider=provider, secrets=secrets, settings=configured.settings,
            api_token=api_token, now=system_clock(),
        )  # fmt: skip  # whose, what, and what proves it
        url, name = url_of(settings, made), made.settings.username
        output.note(*unknown_score_types(made))
        if as_json:
            document: dict[str, object] = {"slug": made.slug, "provider": provider, "url": url, "secrets": [*secrets]}
            output.document(document | ({"username": name} if name else {}))
            return
        output.lines(
            f"Made the source `{made.slug}`.",
            *_numbered(chosen.steps, url=url, secret=secrets[0] if secrets else "", slug=slug),
            *([f"The user name is {name}, the password {secrets[0]}"] if name else []),
            *_token_told(made, secrets),
            f"The secret is not shown again. Try it: contact-score source send {made.slug} FILE.json",
        )

    run(body)


def _numbered(steps: Sequence[str], *, url: str, secret: str, slug: str) -> list[str]:
    told = [step.format(url=url, secret=secret).replace("SLUG", slug) for step in steps]
    return [f"  {number}. {step}" for number, step in enumerate(told, start=1)]


def _token_told(source: Source, secrets: Sequence[str]) -> list[str]:
    """Say where a token stands that is not sent as the steps say, which is as Bearer."""
    place, _, name = (source.settings.token_in or "").partition(":")
    if place not in TOKEN_PLACES:
        return []
    return [f"The token is not sent as Bearer, but {TOKEN_PLACES[place].format(name=name, token=secrets[0])}"]


def url_of(settings: Settings, source: Source) -> str:
    """Give the address that a source sends to."""
    return f"{settings.url}/webhooks/{source.workspace.team}/{source.slug}"


def _recipe(text: str | None) -> str | Mapping[str, object] | None:
    """Give a recipe's name, or what stands in its file."""
    if text is None or not text.endswith(".json"):
        return text
    read = json_file(Path(text))
    if not isinstance(read, dict):
        raise Refusal(f"the file {text} holds no recipe: it must be a JSON object")
    return read


def json_file(path: Path | None) -> object:
    """Read a JSON file of the operator; raises Refusal."""
    if path is None:
        return None
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise Refusal(f"the file {path} cannot be read as JSON: {exc}") from exc


@app.command("list")
def list_all(team: Team = None, as_json: AsJson = False) -> None:
    """List the sources, without their secrets."""

    async def body(_: Storage, settings: Settings) -> None:
        rows = [
            {"slug": one.slug, "provider": one.provider, "url": url_of(settings, one)}
            for one in await sources(await the_workspace(team))
        ]
        if as_json:
            output.document({"sources": rows})
        else:
            output.table(rows, none="No source yet. Make one: contact-score source add crm --provider generic")

    run(body)


@app.command()
def show(slug: str, team: Team = None, as_json: AsJson = False) -> None:
    """Show what a source is set to, without its secrets, and what came of it in the last day."""

    async def body(_: Storage, settings: Settings) -> None:
        workspace, now = await the_workspace(team), system_clock()
        source = (await find_source(workspace.team, slug=slug)).at(now)
        seen, kept = await count_recent(workspace, source=source.id, now=now), source.settings
        day = {
            "deliveries": seen.deliveries,
            "applied": seen.applied,
            "duplicate": seen.duplicate,
            "ignored": seen.ignored,
            "quarantined": seen.quarantined,
        }
        told: dict[str, object] = {
            "slug": source.slug,
            "provider": source.provider,
            "url": url_of(settings, source),
            "live_secrets": len(source.secrets),
            "retiring_at": [output.moment(source.retiring[one]) for one in source.secrets if one in source.retiring],
            "username": kept.username,
            "token_in": kept.token_in,
            "map": dict(kept.map),
            "public_url": kept.public_url,
            "options": dict(kept.options),
            "recipe": kept.recipe,
            "mapping": kept.mapping,
            "muted": kept.muted,
            "paused": kept.paused,
            "rate": kept.rate,
            **(await _read_back(source)),
            "standing": (await list_troubled(workspace)).get(slug, SourceHealth.WORKS),
            "last_delivery_at": output.moment(seen.last_at) if seen.last_at is not None else None,
            "last_day": day,
        }
        if as_json:
            output.document(told)
            return
        output.table([{"what": name.replace("_", " "), "is": _plain(value)} for name, value in told.items()], none="")
        steps = PROVIDERS[source.provider].steps
        output.lines("", *_numbered(steps, url=url_of(settings, source), secret=HIDDEN, slug=slug))

    run(body)


async def _read_back(source: Source) -> dict[str, object]:
    """Say whether what its deliveries leave out is read, and what came of it; nothing where they leave out nothing."""
    readback = PROVIDERS[source.provider].readback
    if readback is None:
        return {}
    seen = await readback_status(source.workspace, source=source.slug)
    return {
        "reads_back": source.reads,
        "api_url": source.settings.api_url or readback.base,
        "contacts_to_read": seen.waiting,
        "not_read": seen.problem if source.reads else explain_missing_token(source.slug),
        "not_read_at": output.moment(seen.problem_at) if seen.problem_at is not None else None,
    }


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


@app.command("set")
def set_(
    slug: str,
    secret: Secret = None,
    username: Username = None,
    password: Password = None,
    token: Token = None,
    token_in: TokenIn = None,
    map: Map = None,
    public_url: PublicUrl = None,
    option: Option = None,
    recipe: Recipe = None,
    mapping: MappingFile = None,
    muted: Muted = None,
    rate: Rate = None,
    api_token: ApiToken = None,
    api_url: ApiUrl = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given, and leave the rest; a secret replaces those there are at once."""

    async def body(_: Storage, settings: Settings) -> None:
        workspace = await the_workspace(team)
        source = await find_source(workspace.team, slug=slug)
        given = Given(
            secrets=secret or (), username=username, password=password, token=token, token_in=token_in,
            map=map or (), public_url=public_url, options=option or (), recipe=_recipe(recipe),
            mapping=json_file(mapping), muted=muted, rate=rate, api_token=api_token, api_url=api_url,
        )  # fmt: skip  # as the options stand above
        configured = configure(workspace, slug=slug, provider=source.provider, given=given, before=source)
        changed = await set_source(
            workspace, slug=slug, settings=configured.settings, secrets=configured.secrets, api_token=api_token,
            now=system_clock(),
        )  # fmt: skip  # as above
        output.note(*unknown_score_types(changed))
        if as_json:
            output.document({"slug": changed.slug, "provider": changed.provider, "url": url_of(settings, changed)})
        else:
            output.lines(f"Set the source `{changed.slug}`. See it: contact-score source show {changed.slug}")

    run(body)


@app.command()
def rotate(
    slug: str,
    secret: Annotated[str | None, typer.Option(help="The new secret, where the sender makes it.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Add a new secret, password or token; those there are retire after a day."""

    async def body(_: Storage, __: Settings) -> None:
        workspace, now = await the_workspace(team), system_clock()
        source = await find_source(workspace.team, slug=slug)
        chosen = next_secret(source, secret)
        rotated = await rotate_source(workspace, slug=slug, secret=chosen, now=now)
        until = output.moment(min(rotated.retiring.values(), default=now + DAY))
        if as_json:
            output.document({"slug": slug, "secrets": [chosen], "old_until": until})
        else:
            output.lines(f"The new secret of `{slug}` is {chosen}", f"The old one is taken until {until}.")

    run(body)


@app.command()
def remove(slug: str, team: Team = None, as_json: AsJson = False) -> None:
    """Forget a source and its deliveries; the scores that it set stay."""

    async def body(_: Storage, __: Settings) -> None:
        await remove_source(await the_workspace(team), slug=slug)
        if as_json:
            output.document({"removed": slug})
        else:
            output.lines(f"Removed the source `{slug}`; whoever sends to it is told 404 from now on.")

    run(body)
