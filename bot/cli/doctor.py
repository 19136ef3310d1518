"""`contact-score doctor`: report contacts with suspicious identities."""

from bot.cli import output
from bot.cli.run import AsJson, Team, run
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.limits import MAINTENANCE
from storage.reading.identity_checks import find_alike_addresses, find_several_ids
from storage.workspaces import all_workspaces, find_workspace


def doctor(team: Team = None, as_json: AsJson = False) -> None:
    """Report data that needs attention. Nothing is changed."""

    async def body(_: Storage, __: Settings) -> None:
        workspaces = [await find_workspace(team)] if team is not None else await all_workspaces()
        several: list[dict[str, object]] = []
        alike: list[dict[str, object]] = []
        for workspace in workspaces:
            several += [
                {"workspace": workspace.team, "contact": known.contact.typed, "source": known.source}
                | {"ids": list(known.ids)}
                for known in await find_several_ids(workspace)
            ]
            alike += [
                {"workspace": workspace.team, "address": pair.address, "contacts": [pair.older.id, pair.newer.id]}
                for pair in await find_alike_addresses(workspace)
            ]
        if as_json:
            output.document({"several_ids": several, "alike_addresses": alike})
            return
        if not several and not alike:
            output.lines("Nothing found.")
        for row in several:
            ids = row["ids"]
            assert isinstance(ids, list)
            output.lines(
                f"{row['workspace']}: {row['contact']} has {len(ids)} ids of {row['source']}, which came with one"
                f" address: {', '.join(ids)}. If they are two people:"
                f" contact-score contact split {row['contact']} {row['source']}:{ids[-1]}"
            )
        for row in alike:
            pair = row["contacts"]
            assert isinstance(pair, list)
            output.lines(
                f"{row['workspace']}: two contacts have the address {row['address']}, written in two ways."
                f" If they are one person: /score merge id:{pair[1]} into id:{pair[0]}"
            )

    run(body, limits=MAINTENANCE)
