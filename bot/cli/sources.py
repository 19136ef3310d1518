"""`contact-score source`: add, list, show, set, rotate and remove sources."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bot.blocks.audit import describe_states
from bot.cli import output
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from bot.source_admin import explain_missing_token, explain_unreachable, fill_steps, webhook_url
from storage.audit import load_changes_of
from storage.bootstrap import Storage
from storage.domain.errors import Refusal
from storage.domain.source_health import SourceHealth
from storage.domain.sources import DAY, Source
from storage.sources.config import add_source, find_source, remove_source, rotate_source, set_source, sources
from storage.sources.deliveries import count_recent
from storage.sources.health import list_troubled
from storage.sources.readback_queue import load_readback_status
from storage.sources.writeback_queue import load_write_back_status
from webhooks.providers import PROVIDERS
from webhooks.source_settings import (
    SourceOptions,
    awaits_secret,
    configure,
    explain_missing_secret,
    find_provider,
    next_secret,
    unknown_score_types,
)

TOKEN_PLACES = {
    "header": "in the header {name}: {token}",
    "query": "at the end of the address: ?{name}={token}",
    "form": "in a field of the form: {name}={token}",
}
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        metavar="FILE.json",
        exists=True,
        dir_okay=False,
        help="A file with a JMESPath expression for each field.",
    ),
]
#: the options that `add` and `set` share, by the field of SourceOptions
SHARED_OPTIONS: Final = {
    "secrets": Annotated[
        list[str] | None, typer.Option("--secret", help="A signing secret of the sender; repeat it while rotating.")
    ],
    "username": Annotated[str | None, typer.Option(help="HTTP Basic: the user name.")],
    "password": Annotated[str | None, typer.Option(help="HTTP Basic: the password.")],
    "token": Annotated[str | None, typer.Option(help="A token that the sender sends along.")],
    "token_in": Annotated[str | None, typer.Option(help="Where: bearer, header:NAME, query:NAME or form:NAME.")],
    "map": Annotated[
        list[str] | None, typer.Option(metavar="PROPERTY=TYPE", help="A field of the sender, and its score type.")
    ],
    "public_url": Annotated[str | None, typer.Option(help="The address that the sender signs, if a proxy changes it.")],
    "options": Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="A setting of this provider.")
    ],
    "recipe": Annotated[str | None, typer.Option(metavar="NAME|FILE.json", help="How the sender signs.")],
    "mapping": MappingFile,
    "muted": Annotated[bool | None, typer.Option("--muted/--no-muted", help="Its deliveries create no follow-ups.")],
    "rate": Annotated[str | None, typer.Option(help="The most requests to accept: 200/s, 1000/min, 5000/h.")],
    "api_token": Annotated[
        str | None,
        typer.Option(help="A token for the sender's API, if it sends only ids; a blank one removes it."),
    ],
    "api_url": Annotated[str | None, typer.Option(help="The address of the sender's API, if it is not the usual one.")],
    "link": Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The address of a contact in the CRM, with {id} in place of the contact's id; a blank removes it.",
        ),
    ],
    "write_back": Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE=PROPERTY", help="A score, and the CRM's property to write it to; a blank property stops it."
        ),
    ],
}
ReadOptions = Callable[[], SourceOptions]


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter *read_options* of a command by SHARED_OPTIONS.

    *read_options* returns their values; it raises a Refusal for a file that cannot be read.
    """

    @wraps(command)
    def run_command(**values: Any) -> None:
        chosen = {name: value for name in SHARED_OPTIONS if (value := values.pop(name)) is not None}

        def read_options() -> SourceOptions:
            files = {"recipe": _load_recipe(chosen.get("recipe")), "mapping": json_file(chosen.get("mapping"))}
            return SourceOptions(**chosen | files)

        command(**values, read_options=read_options)

    parameters: list[inspect.Parameter] = []
    signature = inspect.signature(command)
    for parameter in signature.parameters.values():
        if parameter.name == "read_options":
            parameters += [
                parameter.replace(name=name, default=None, annotation=option) for name, option in SHARED_OPTIONS.items()
            ]
        else:
            parameters.append(parameter)
    run_command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # for typer
    return run_command


@_with_options
def add(
    slug: Annotated[str, typer.Argument(help="A short name: crm, hubspot-eu.")],
    provider: Annotated[str, typer.Option(help=f"What sends: {', '.join(PROVIDERS)}.")] = "generic",
    read_options: ReadOptions = SourceOptions,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Add a source. A secret that is generated for it is shown only once."""

    async def body(_: Storage, settings: Settings) -> None:
        spec = find_provider(provider)
        workspace = await the_workspace(team)
        options = read_options()
        if spec.signed_with and not options.secrets and not as_json:
            secret = output.ask(f"Paste {spec.signed_with}, or leave it blank to add it later")
            options = replace(options, secrets=(secret,)) if secret else options
        # A program cannot be asked: it gets a secret, and sets the sender's own one later.
        configured = configure(workspace, slug=slug, provider=provider, options=options, always_generates=as_json)
        secrets = configured.secrets or ()
        source = await add_source(
            workspace, slug=slug, provider=provider, secrets=secrets, settings=configured.settings,
            api_token=options.api_token, by=terminal_user(), now=system_clock(),
        )  # fmt: skip  # identity, settings and credentials
        url, name = webhook_url(settings.url, source), source.settings.username
        output.note(*unknown_score_types(source), *_warn_of_reach(settings, as_json=as_json))
        missing = f"Its requests are refused until it has a secret; {explain_missing_secret(source)}"
        if as_json:
            document: dict[str, object] = {"slug": source.slug, "provider": provider, "url": url, "secrets": [*secrets]}
            output.document(document | ({"username": name} if name else {}))
            return
        steps = fill_steps(_terminal_steps(source), source=source, url=url, secret=secrets[0] if secrets else "")
        lines = [
            *_number_steps(steps),
            *([f"The user name is {name}, the password {secrets[0]}"] if name else []),
            *_explain_token_place(source, secrets),
        ]
        is_shown = any(secret in line for secret in secrets for line in lines)
        output.lines(
            f"Added the source `{source.slug}`.",
            *lines,
            missing
            if awaits_secret(source)
            else ("The secret is not shown again. " if is_shown else "")
            + f"Try it: contact-score source send {source.slug} FILE.json",
        )

    run(body)


def _terminal_steps(source: Source) -> list[str]:
    """Return the steps to set up the sender of a source, without those that are done."""
    return [step.in_terminal for step in PROVIDERS[source.provider].steps if not step.is_done(source)]


def _warn_of_reach(settings: Settings, *, as_json: bool) -> list[str]:
    """Return a warning if senders do not reach the addresses of sources, as a list of at most one line.

    Programs, which read JSON, get the same from `contact-score doctor --json`.
    """
    problem = None if as_json else explain_unreachable(settings.url)
    return [f"Warning: {problem}"] if problem is not None else []


def _number_steps(steps: Sequence[str]) -> list[str]:
    return [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]


def _explain_token_place(source: Source, secrets: Sequence[str]) -> list[str]:
    """Return a line about the place of the token, if it is not sent as a Bearer token as the setup steps say."""
    place, _, name = (source.settings.token_in or "").partition(":")
    if place not in TOKEN_PLACES:
        return []
    return [f"The token is not sent as Bearer, but {TOKEN_PLACES[place].format(name=name, token=secrets[0])}"]


def _load_recipe(text: str | None) -> str | Mapping[str, object] | None:
    """Return the name of a built-in recipe, or the content of a recipe file."""
    if text is None or not text.endswith(".json"):
        return text
    document = json_file(Path(text))
    if not isinstance(document, dict):
        raise Refusal(f"the file {text} is not a recipe: it must be a JSON object")
    return document


def json_file(path: Path | None) -> object:
    """Read a JSON file, or return None without a path; raises a Refusal."""
    if path is None:
        return None
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise Refusal(f"the file {path} cannot be read as JSON: {exc}") from exc


def list_all(team: Team = None, as_json: AsJson = False) -> None:
    """List the sources, without their secrets."""

    async def body(_: Storage, settings: Settings) -> None:
        rows = [
            {"slug": source.slug, "provider": source.provider, "url": webhook_url(settings.url, source)}
            for source in await sources(await the_workspace(team))
        ]
        if rows:
            output.note(*_warn_of_reach(settings, as_json=as_json))
        if as_json:
            output.document({"sources": rows})
        else:
            output.table(rows, none="No sources yet. Add one: contact-score source add crm --provider generic")

    run(body)


def show(slug: str, team: Team = None, as_json: AsJson = False) -> None:
    """Show the settings of a source, without its secrets, and its deliveries of the last day."""

    async def body(_: Storage, settings: Settings) -> None:
        workspace, now = await the_workspace(team), system_clock()
        source = (await find_source(workspace.team, slug=slug)).at(now)
        counts, source_settings = await count_recent(workspace, source=source.id, now=now), source.settings
        last_day = {
            "deliveries": counts.deliveries,
            "applied": counts.applied,
            "duplicate": counts.duplicate,
            "ignored": counts.ignored,
            "quarantined": counts.quarantined,
        }
        details: dict[str, object] = {
            "slug": source.slug,
            "provider": source.provider,
            "url": webhook_url(settings.url, source),
            "live_secrets": len(source.secrets),
            "locked": source.is_locked,
            "retiring_at": [
                output.moment(source.retiring[secret]) for secret in source.secrets if secret in source.retiring
            ],
            "username": source_settings.username,
            "token_in": source_settings.token_in,
            "map": dict(source_settings.map),
            "public_url": source_settings.public_url,
            "options": dict(source_settings.options),
            "recipe": source_settings.recipe,
            "mapping": source_settings.mapping,
            "muted": source_settings.muted,
            "paused": source_settings.paused,
            "rate": source_settings.rate,
            "link": source_settings.link,
            **(await _describe_readback(source)),
            **(await _describe_writeback(source)),
            "standing": (await list_troubled(workspace)).get(slug, SourceHealth.WORKS),
            "last_delivery_at": output.moment(counts.last_at) if counts.last_at is not None else None,
            "last_day": last_day,
        }
        output.note(*_warn_of_reach(settings, as_json=as_json))
        if as_json:
            output.document(details)
            return
        output.table(
            [{"what": name.replace("_", " "), "is": _format_value(value)} for name, value in details.items()], none=""
        )
        url = webhook_url(settings.url, source)
        output.lines("", *_number_steps(fill_steps(_terminal_steps(source), source=source, url=url)))
        if awaits_secret(source):
            output.lines(f"Its requests are refused until it has a secret; {explain_missing_secret(source)}")

    run(body)


async def _describe_readback(source: Source) -> dict[str, object]:
    """Return the settings and status of the read-back; empty if the provider's deliveries are complete."""
    readback = PROVIDERS[source.provider].readback
    if readback is None:
        return {}
    status = await load_readback_status(source.workspace, source=source.slug)
    return {
        "reads_back": source.reads,
        "api_url": source.settings.api_url or readback.base,
        "contacts_to_read": status.waiting,
        "not_read": status.problem if source.reads else explain_missing_token(source.slug),
        "not_read_at": output.moment(status.problem_at) if status.problem_at is not None else None,
    }


async def _describe_writeback(source: Source) -> dict[str, object]:
    """Return the settings and status of the write-back; empty if no scores are written to the source."""
    if not source.settings.write_back:
        return {}
    writeback = PROVIDERS[source.provider].writeback
    status = await load_write_back_status(source.workspace, source=source.slug)
    return {
        "api_url": source.settings.api_url or (writeback.base if writeback is not None else None),
        "write_back": dict(source.settings.write_back),
        "contacts_to_write": status.waiting,
        "writing_paused": status.paused_at is not None,
        "not_written": status.problem,
        "not_written_at": output.moment(status.problem_at) if status.problem_at is not None else None,
    }


def _format_value(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


@_with_options
def set_(
    slug: str,
    read_options: ReadOptions = SourceOptions,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Change the settings given here. A secret replaces the existing ones at once."""

    async def body(_: Storage, settings: Settings) -> None:
        workspace = await the_workspace(team)
        source = await find_source(workspace.team, slug=slug)
        options = read_options()
        configured = configure(workspace, slug=slug, provider=source.provider, options=options, before=source)
        changed = await set_source(
            workspace, slug=slug, settings=configured.settings, secrets=configured.secrets,
            api_token=options.api_token,
            by=terminal_user(),
            now=system_clock(),
        )  # fmt: skip  # in the order of the parameters
        output.note(*unknown_score_types(changed))
        if as_json:
            url = webhook_url(settings.url, changed)
            output.document({"slug": changed.slug, "provider": changed.provider, "url": url})
        else:
            (entry,) = await load_changes_of(workspace, who=terminal_user(), limit=1)
            output.lines(
                f"Changed the source `{changed.slug}`: {describe_states(entry)}.",
                f"Show it: contact-score source show {changed.slug}",
            )

    run(body)


def rotate(
    slug: str,
    secret: Annotated[str | None, typer.Option(help="The new secret, where the sender makes it.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Add a new secret, password or token. The old ones are accepted for another day."""

    async def body(_: Storage, __: Settings) -> None:
        workspace, now = await the_workspace(team), system_clock()
        source = await find_source(workspace.team, slug=slug)
        new_secret = next_secret(source, secret)
        rotated = await rotate_source(workspace, slug=slug, secret=new_secret, by=terminal_user(), now=now)
        old_until = output.moment(min(rotated.retiring.values(), default=now + DAY))
        if as_json:
            output.document({"slug": slug, "secrets": [new_secret], "old_until": old_until})
        else:
            output.lines(f"The new secret of `{slug}` is {new_secret}", f"The old one is accepted until {old_until}.")

    run(body)


def remove(slug: str, team: Team = None, as_json: AsJson = False) -> None:
    """Remove a source and its deliveries. The scores that it set stay."""

    async def body(_: Storage, __: Settings) -> None:
        await find_source((await the_workspace(team)).team, slug=slug)  # refuse before the question
        question = f"Remove `{slug}` and its deliveries? Its scores stay, and its requests will be answered 404."
        if not as_json and output.is_interactive() and not output.confirm(question):
            raise Refusal("nothing was removed")
        await remove_source(await the_workspace(team), slug=slug, by=terminal_user(), now=system_clock())
        if as_json:
            output.document({"removed": slug})
        else:
            output.lines(f"Removed the source `{slug}`; requests to it are answered 404 from now on.")

    run(body)
