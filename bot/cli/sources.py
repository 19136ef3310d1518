"""Add and list sources, and send one a test delivery."""

import asyncio
import json
import secrets as randomness
from pathlib import Path
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.running import AsJson, Team, run, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.domain.errors import Refusal
from storage.opening import Storage
from storage.sources import add_source, find_source, sources
from webhooks.providers import PROVIDERS
from webhooks.sending import post

app = typer.Typer(no_args_is_help=True, help="Sources: the systems that send scores.")


@app.command()
def add(
    slug: Annotated[str, typer.Argument(help="A short name: crm, hubspot-eu.")],
    provider: Annotated[str, typer.Option(help=f"What sends: {', '.join(PROVIDERS)}.")] = "generic",
    secret: Annotated[list[str] | None, typer.Option(help="The signing secret, where the sender has one.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Configure a sender; its secret is shown this once."""

    async def body(_: Storage, settings: Settings) -> None:
        if provider not in PROVIDERS:
            raise Refusal(f"there is no provider `{provider}`; there is {', '.join(PROVIDERS)}")
        chosen = PROVIDERS[provider]
        given = secret or [chosen.new_secret()]
        for one in given:
            try:
                chosen.check_secret(one)
            except ValueError as exc:
                raise Refusal(str(exc)) from exc
        workspace = await the_workspace(team)
        made = await add_source(workspace, slug=slug, provider=provider, secrets=given, now=system_clock())
        url = f"{settings.url}/webhooks/{workspace.team}/{made.slug}"
        if as_json:
            output.document({"slug": made.slug, "provider": provider, "url": url, "secrets": given})
            return
        steps = [step.format(url=url, secret=given[0]) for step in chosen.steps]
        output.lines(
            f"Made the source `{made.slug}`.",
            *(f"  {number}. {step}" for number, step in enumerate(steps, start=1)),
            f"The secret is not shown again. Try it: contact-score source send {made.slug} FILE.json",
        )

    run(body)


@app.command("list")
def list_all(team: Team = None, as_json: AsJson = False) -> None:
    """List the sources, without their secrets."""

    async def body(_: Storage, settings: Settings) -> None:
        workspace = await the_workspace(team)
        base = f"{settings.url}/webhooks/{workspace.team}"
        rows = [
            {"slug": one.slug, "provider": one.provider, "url": f"{base}/{one.slug}"}
            for one in await sources(workspace)
        ]
        if as_json:
            output.document({"sources": rows})
        else:
            output.table(rows, none="No source yet. Make one: contact-score source add crm --provider generic")

    run(body)


@app.command()
def send(
    slug: str,
    file: Annotated[Path, typer.Argument(metavar="FILE.json", exists=True, dir_okay=False)],
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Sign FILE.json as the sender would and post it to the running service."""

    async def body(_: Storage, settings: Settings) -> tuple[int, str]:
        workspace = await the_workspace(team)
        source = await find_source(workspace.team, slug=slug)
        document, delivery = await asyncio.to_thread(file.read_bytes), f"msg_{randomness.token_hex(12)}"
        headers = PROVIDERS[source.provider].sign(
            document, delivery=delivery, secret=source.secrets[0], now=system_clock()
        )
        url = f"{settings.url}/webhooks/{workspace.team}/{source.slug}"
        try:
            return await post(url, body=document, headers=headers)
        except OSError as exc:
            raise Refusal(f"nobody answers at {url}: is `contact-score serve` running there?") from exc

    status, answer = run(body)
    if as_json:
        output.document({"status": status, "answer": _document(answer)})
    else:
        output.lines(f"{status} {answer}")
    if status != 200:
        raise typer.Exit(1)


def _document(answer: str) -> object:
    """Read an answer, which is text where something in between gave it."""
    try:
        return json.loads(answer)
    except ValueError:
        return answer
