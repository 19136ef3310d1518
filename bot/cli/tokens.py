"""`contact-score token`: create, list and revoke API tokens."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.cli.usage import Group
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.tokens import create_token, revoke_token, tokens

app = typer.Typer(cls=Group, help="Tokens: what programs call the API with.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="read, write, metrics; repeatable.")],
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Create a token. It is shown only once."""

    async def body(_: Storage, __: Settings) -> None:
        token, secret = await create_token(
            await the_workspace(team), name=name, scopes=scope, by=terminal_user(), now=system_clock()
        )
        if as_json:
            output.document({"id": token.id, "name": token.name, "scopes": list(token.scopes), "token": secret})
        else:
            output.lines(f"Created the token {token.id}, {token.name}, which may {' and '.join(token.scopes)}.", secret)
            output.lines("It is not shown again. Send it as: Authorization: Bearer …")

    run(body)


@app.command("list")
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
            }
            for token in all_tokens
        ]
        if as_json:
            output.document({"tokens": rows})
        else:
            table_rows = [
                {**row, "scopes": ", ".join(token.scopes)} for row, token in zip(rows, all_tokens, strict=True)
            ]
            output.table(table_rows, none="No tokens yet. Create one: contact-score token create NAME --scope read")

    run(body)


@app.command()
def revoke(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Revoke a token at once."""

    async def body(_: Storage, __: Settings) -> None:
        await revoke_token(await the_workspace(team), id=id, by=terminal_user(), now=system_clock())
        if as_json:
            output.document({"revoked": id})
        else:
            output.lines(f"Revoked the token {id}; requests with it are refused from now on.")

    run(body)
