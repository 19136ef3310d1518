"""`contact-score doctor`: report what needs an operator: contacts, secrets, sources and the public address."""

from dataclasses import asdict, dataclass, field

from bot.cli import output
from bot.cli.run import AsJson, Team, run
from bot.settings import Settings
from bot.source_admin import explain_unreachable, is_local
from storage.bootstrap import Storage
from storage.domain.people import Workspace
from storage.domain.source_health import SourceHealth
from storage.limits import MAINTENANCE
from storage.notices import NO_ADMIN, is_noticed
from storage.reading.identity_checks import find_alike_addresses, find_several_ids
from storage.sources.config import find_locked_secrets, sources
from storage.sources.deliveries import count_quarantined
from storage.sources.health import list_troubled
from storage.workspaces import all_workspaces, find_workspace
from webhooks.source_settings import awaits_secret, explain_missing_secret, unknown_score_types
from webhooks.test_delivery import find_complaint

PATIENCE = 5.0  #: seconds to wait for the public address
#: what is wrong with a source, in words
_TROUBLE = {
    SourceHealth.REFUSED: "its last requests were all refused",
    SourceHealth.UNUSABLE: "no item of its last deliveries could be used",
    SourceHealth.SILENT: "it sends nothing any more",
}


@dataclass(slots=True)
class _Report:
    """What was found: the rows of the JSON document, and the same in sentences."""

    several_ids: list[dict[str, object]] = field(default_factory=list)
    alike_addresses: list[dict[str, object]] = field(default_factory=list)
    locked_secrets: list[dict[str, object]] = field(default_factory=list)
    sources: list[dict[str, object]] = field(default_factory=list)
    without_admin: list[dict[str, object]] = field(default_factory=list)
    public_url: dict[str, object] | None = None
    lines: list[str] = field(default_factory=list)


def doctor(team: Team = None, as_json: AsJson = False) -> None:
    """Report what needs attention: secrets, sources, the public address, contacts. Nothing is changed."""

    async def body(_: Storage, settings: Settings) -> None:
        workspaces = [await find_workspace(team)] if team is not None else await all_workspaces()
        report, has_sources = _Report(), False
        for workspace in workspaces:
            await _check_contacts(report, workspace)
            await _check_secrets(report, workspace)
            await _check_admins(report, workspace)
            has_sources |= await _check_sources(report, workspace)
        if has_sources:
            await _check_address(report, settings)
        if as_json:
            output.document({name: value for name, value in asdict(report).items() if name != "lines"})
        else:
            output.lines(*report.lines or ["Nothing found."])

    run(body, limits=MAINTENANCE)


async def _check_contacts(report: _Report, workspace: Workspace) -> None:
    for known in await find_several_ids(workspace):
        row = {"contact": known.contact.typed, "source": known.source, "ids": list(known.ids)}
        report.several_ids.append({"workspace": workspace.team, **row})
        report.lines.append(
            f"{workspace.team}: {known.contact.typed} has {len(known.ids)} ids of {known.source}, which came with one"
            f" address: {', '.join(known.ids)}. If they are two people:"
            f" contact-score contact split {known.contact.typed} {known.source}:{known.ids[-1]}"
        )
    for pair in await find_alike_addresses(workspace):
        ids = [pair.older.id, pair.newer.id]
        report.alike_addresses.append({"workspace": workspace.team, "address": pair.address, "contacts": ids})
        report.lines.append(
            f"{workspace.team}: two contacts have the address {pair.address}, written in two ways."
            f" If they are one person: /score merge id:{pair.newer.id} into id:{pair.older.id}"
        )


async def _check_secrets(report: _Report, workspace: Workspace) -> None:
    locked = await find_locked_secrets(workspace)
    parts = [f"the deliveries of {', '.join(locked.sources)} are answered 503 and wait"] if locked.sources else []
    parts += [f"contacts of {', '.join(locked.api_tokens)} are not read back"] if locked.api_tokens else []
    parts += ["nothing is recorded, because deleted contacts are not recognized"] if locked.deletions else []
    if not locked.is_any:
        return
    row = {"sources": list(locked.sources), "api_tokens": list(locked.api_tokens), "deletions": locked.deletions}
    report.locked_secrets.append({"workspace": workspace.team, **row})
    report.lines.append(
        f"{workspace.team}: secrets need another key, so {'; '.join(parts)}. Add the key to CONTACT_SCORE_SECRET_KEYS"
        " or to the .key file beside the database, or set the secrets again: contact-score source set"
    )


async def _check_admins(report: _Report, workspace: Workspace) -> None:
    """Report a workspace in which the service could reach no admin."""
    if not await is_noticed(workspace, notice=NO_ADMIN):
        return
    report.without_admin.append({"workspace": workspace.team})
    report.lines.append(
        f"{workspace.team}: no admin could be reached in Slack, so messages to admins were sent to nobody. Name one,"
        f" and start the service again: contact-score workspace set {workspace.team} --add-admin U…"
    )


async def _check_sources(report: _Report, workspace: Workspace) -> bool:
    """Report the sources of a workspace that need attention. Return whether it has sources."""
    quarantined, troubles = await count_quarantined(workspace), await list_troubled(workspace)
    known = await sources(workspace)
    for source in known:
        problems = unknown_score_types(source)
        if awaits_secret(source):
            problems.append(f"it has no secret yet, so its requests are refused: {explain_missing_secret(source)}")
        if source.slug in troubles:
            problems.append(f"{_TROUBLE[troubles[source.slug]]}: contact-score deliveries list --source {source.slug}")
        if number := quarantined.get(source.slug):
            items = output.count(number, "item")
            problems.append(f"{items} in quarantine: contact-score deliveries list --source {source.slug}")
        report.sources += [
            {"workspace": workspace.team, "source": source.slug, "problem": problem} for problem in problems
        ]
        report.lines += [f"{workspace.team}: the source {source.slug}: {problem}" for problem in problems]
    return bool(known)


async def _check_address(report: _Report, settings: Settings) -> None:
    """Report if senders do not reach the addresses of the sources."""
    problem = None
    if settings.public_url is None or is_local(settings.public_url):
        problem = (
            f"The addresses of the sources begin with {settings.url}, which other machines do not reach:"
            " set CONTACT_SCORE_PUBLIC_URL to the address at which they reach the service"
        )
    elif complaint := await find_complaint(f"{settings.url}/healthz", patience=PATIENCE):
        problem = f"{settings.url}/healthz {complaint}: is the service running, and does the web server forward to it?"
    else:
        problem = explain_unreachable(settings.url)
    if problem is not None:
        report.public_url = {"url": settings.url, "problem": problem}
        report.lines.append(problem)
