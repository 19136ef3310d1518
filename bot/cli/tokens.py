"""`contact-score token`: create, list and revoke API tokens."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.durations import parse_span
from storage.tokens import create_token, revoke_token, tokens


def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="read, write, metrics, export; repeatable.")],
    expires: Annotated[str | None, typer.Option(help="Stop working after this time: 90d, 12h.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Create a token. It is shown only once."""

    async def body(_: Storage, __: Settings) -> None:
        token, secret = await create_token(
            await the_workspace(team),
            name=name,
            scopes=scope,
            lifetime=None if expires is None else parse_span(expires),
            by=terminal_user(),
            now=system_clock(),
        )
        if as_json:
            expiry = {} if token.expires_at is None else {"expires_at": output.moment(token.expires_at)}
            output.document(
                {"id": token.id, "name": token.name, "scopes": list(token.scopes), **expiry, "token": secret}
            )
        else:
            output.lines(f"Created the token {token.id}, {token.name}, which may {' and '.join(token.scopes)}.", secret)
            if token.expires_at is not None:
                output.lines(f"It works until {output.moment(token.expires_at)}.")
            output.lines("It is not shown again. Send it as: Authorization: Bearer …")

    run(body)


def list_all(team: Team = None, as_json: AsJson = False) -> None:
    """List the tokens, without their secrets."""

    async def body(_: Storage, __: Settings) -> None:
        all_tokens = await tokens(await the_workspace(team))
        rows = [
            {
                "id": token.id,
                "name": token.name,
                "scopes": list(token.scopes),
                "created_at": output.moment(token.created_at),
                "expires_at": _show_time(token.expires_at),
                "last_used_at": _show_time(token.last_used_at),
            }
            for token in all_tokens
        ]
        if as_json:
            output.document({"tokens": rows})
        else:
            table_rows = [
                {**row, "scopes": ", ".join(token.scopes)}
                | {name: row[name] or "never" for name in ("expires_at", "last_used_at")}
                for row, token in zip(rows, all_tokens, strict=True)
            ]
            output.table(table_rows, none="No tokens yet. Create one: contact-score token create NAME --scope read")

    run(body)


def _show_time(at: int | None) -> str | None:
    return None if at is None else output.moment(at)


def revoke(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Revoke a token at once."""

    async def body(_: Storage, __: Settings) -> None:
        await revoke_token(await the_workspace(team), id=id, by=terminal_user(), now=system_clock())
        if as_json:
            output.document({"revoked": id})
        else:
            output.lines(f"Revoked the token {id}; requests with it are refused from now on.")

    run(body)
