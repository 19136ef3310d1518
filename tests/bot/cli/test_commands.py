"""Workspaces, score types, sources and migrations on the command line: documents, tables, refusals, exit codes."""

import asyncio
import contextlib
import re
import sqlite3
import stat
from pathlib import Path

import asyncpg
import pytest

from tests.bot.cli.program import Ended, environment, run, run_anew
from tests.conftest import KEY, on_both
from tests.postgres import postgres_url
from tests.storage import raw

MIGRATIONS = [
    "0001_initial",
    "0002_reading",
    "0003_standing",
    "0004_finding",
    "0005_folding_again",
    "0006_pending_holds",
    "0007_finding_effects",
    "0008_background_jobs",
    "0009_named_contacts",
    "0010_matching_keys",
    "0011_first_facts",
    "0012_attribute_values",
    "0013_named_ids",
    "0014_audit",
    "0015_asking_newcomers",
    "0016_gone_contacts",
    "0017_undone_alerts",
    "0018_undone_changes",
    "0019_token_uses",
    "0020_events",
    "0021_followup_rules",
    "0022_makers",
    "0023_owners",
    "0024_filter_indexes",
    "0025_write_backs",
    "0026_words",
    "0027_roles",
    "0028_bulk_changes",
    "0029_imports",
    "0030_snapshots",
    "0031_config_versions",
    "0032_filter_lookups",
]
# The output does not depend on the database, so most commands run on one database only.
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
SCORE = {
    "key": "score",
    "label": "Score",
    "min": 0,
    "max": 100,
    "step": 1,
    "start": 0,
    "bands": [{"name": "cold", "from": 0}, {"name": "warm", "from": 40}, {"name": "hot", "from": 80}],
    "half_life": None,
    "default": True,
}
FIT = {
    "key": "fit",
    "label": "Fit",
    "min": -1,
    "max": 10,
    "step": 0.5,
    "start": 7.5,
    "bands": [{"name": "low", "from": -1}, {"name": "high", "from": 7.5, "colour": "purple"}],
    "half_life": None,
    "default": True,
}
FIT_WORDS = "type add fit --min -1 --max 10 --step .5 --start 7.5 --band low:-1 --band high:7.5:purple --default"


class Terminal:
    """Runs commands on one database, several at a time."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self._places = asyncio.Semaphore(4)

    async def run(self, *words: str) -> Ended:
        """Run one command, given as a list of arguments or as one line."""
        async with self._places:
            return await run(*(words[0].split() if len(words) == 1 else words), env=self.env)

    async def check_refused(self, *refusals: tuple[str, str]) -> None:
        """Fail unless each command line is refused with exactly this message."""
        for (_, line), result in zip(
            refusals, await asyncio.gather(*(self.run(words) for words, _ in refusals)), strict=True
        ):
            result.check_refused(line)


@pytest.fixture
async def terminal(database_url: str) -> Terminal:
    """Return a terminal on a database with one workspace."""
    terminal = Terminal(environment(database_url))
    await terminal.run("workspace add T0123 --name Acme")
    return terminal


def rows(result: Ended) -> list[list[str]]:
    """Parse a table: cells are separated by at least two spaces."""
    assert (result.code, result.err) == (0, ""), result
    return [re.split(r" {2,}", line.strip()) for line in result.out.splitlines()]


@pytest.mark.slow
async def test_a_first_command_makes_the_database(tmp_path: Path) -> None:
    """The first command on SQLite creates the directory, the tables and the key, which only the owner can read."""
    file = tmp_path / "new folder" / "scores.db"
    env = environment(f"sqlite://{file}")
    del env["CONTACT_SCORE_SECRET_KEYS"]
    terminal = Terminal(env)

    assert (await terminal.run("workspace list --json")).document == {"workspaces": []}
    key = file.with_name("scores.db.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_text().strip()) == 44
    workspace = (await terminal.run("workspace add T0123 --name Acme --json")).document
    assert workspace == {"workspace": "T0123", "name": "Acme"}
    (secret,) = (await terminal.run("source add crm --json")).document["secrets"]
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (sealed,) = connection.execute("SELECT secrets FROM sources").fetchone()
    assert secret not in sealed
    assert key.read_text().strip() not in sealed
    assert (await terminal.run("source list --json")).code == 0  # another process uses the same key


#: Every command that opens the database, with the arguments it needs to get that far.
OPENING = (
    "workspace list", "workspace add T0123 --name Acme", "workspace set T0123", "type list", "type add fit",
    "source list", "source add crm", "source show crm", "source remove crm", "source try crm --delivery 1",
    "source send crm FILE", "token list", "token create ci --scope read", "deliveries list", "deliveries show 1",
    "deliveries replay 1", "rules export", "import FILE", "export", "verify", "migrate", "serve --no-slack",
)  # fmt: skip  # grouped by noun


@pytest.mark.slow
async def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """Every command reports an unusable database file in one line and leaves the file unchanged."""
    good, table = tmp_path / "good.db", tmp_path / "table.csv"
    await run("workspace", "add", "T0123", "--name", "Acme", env=environment(f"sqlite://{good}"))
    table.write_text("email\nada@example.com\n")
    files = {name: tmp_path / f"{name}.db" for name in ("folder", "diary", "cut", "damaged", "other")}
    files["folder"].mkdir()
    files["diary"].write_text("Dear diary, " * 1000)
    files["cut"].write_bytes(good.read_bytes()[:70_000])
    files["damaged"].write_bytes(good.read_bytes())
    raw.damage(f"sqlite://{files['damaged']}", "tortoise_migrations")
    with contextlib.closing(sqlite3.connect(files["other"])) as other:
        other.execute("CREATE TABLE places (url text)")
    no_database = "CONTACT_SCORE_DATABASE_URL names a file that is not a SQLite database."
    damaged = (
        "The database file is damaged: restore a backup of it, or recover what can be read with sqlite3 FILE .recover;"
        " nothing was recorded."
    )
    others = "CONTACT_SCORE_DATABASE_URL names a database of another application: name a file that does not exist yet."
    some_commands = ("workspace list", "migrate", "serve --no-slack")

    for name, commands, line in (
        ("damaged", OPENING, damaged),
        ("cut", some_commands, damaged),
        ("folder", some_commands, no_database),
        ("diary", some_commands, no_database),
        ("other", some_commands, others),
    ):
        terminal = Terminal(environment(f"sqlite://{files[name]}", CONTACT_SCORE_PORT="0"))
        before = files[name].read_bytes() if files[name].is_file() else b""
        await terminal.check_refused(*((command.replace("FILE", str(table)), line) for command in commands))
        assert (files[name].read_bytes() if files[name].is_file() else b"") == before
    (await run("demo", "--keep", str(files["diary"]), env=environment(None))).check_refused(no_database)


@pytest.mark.slow
async def test_an_empty_sqlite_is_migrated_once(tmp_path: Path) -> None:
    """Several first commands at once on an empty SQLite file create the tables once."""
    env = environment(f"sqlite://{tmp_path}/scores.db")
    firsts = await asyncio.gather(*(run("workspace", "list", "--json", env=env) for _ in range(4)))

    assert [(first.code, first.err[-200:]) for first in firsts] == [(0, "")] * 4
    assert [first.document for first in firsts] == [{"workspaces": []}] * 4


@pytest.mark.slow
async def test_an_empty_postgres_is_migrated_once(postgres: str, tmp_path: Path) -> None:
    """Several first commands at once on PostgreSQL create the tables once; `migrate` lists each migration once."""
    name = "scores_made_by_commands"
    server = await asyncpg.connect(host=postgres, user="postgres", database="postgres")
    try:
        for _ in range(2):
            await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await server.execute(f"CREATE DATABASE {name}")
            terminal = Terminal(environment(postgres_url(postgres, name)))
            applied = await asyncio.gather(*(terminal.run("migrate --json") for _ in range(2)))

            assert sorted(result.document["applied"] for result in applied) == [[], MIGRATIONS]
        results = await asyncio.gather(terminal.run("migrate"), terminal.run("workspace list"))
        assert [(result.code, result.out, result.err) for result in results] == [
            (0, "Nothing to do: the tables are current.\n", ""),
            (0, 'No workspaces yet. Add one: contact-score workspace add T0123 --name "Acme"\n', ""),
        ]
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()


@pytest.mark.slow
async def test_migrating_says_what_it_did_to_people(tmp_path: Path) -> None:
    """Without `--json`, `migrate` prints a line for each migration."""
    file = tmp_path / "scores.db"
    result = await run_anew("migrate", env=environment(f"sqlite://{file}"))

    assert (result.code, result.out, result.err) == (
        0,
        "".join(f"Applied {name}.\n" for name in MIGRATIONS),
        "",
    )


@pytest.mark.slow
@on_postgres
async def test_workspaces(database_url: str) -> None:
    """Workspaces are added and listed, as documents and as tables; refusals are one line."""
    terminal = Terminal(environment(database_url))
    await terminal.check_refused(
        ("type list", 'There is no workspace yet, add one: contact-score workspace add T0123 --name "Acme"')
    )
    result = await terminal.run("workspace", "add", "T0123", "--name", " Acme Ümläut ")
    assert (result.code, result.err) == (0, "")
    assert result.out == "Added the workspace T0123, Acme Ümläut, with the score type `score` (0 to 100).\n"
    second = await terminal.run("workspace", "add", "T0045", "--name", "Second", "--json")
    assert second.document == {"workspace": "T0045", "name": "Second"}

    document, table = await asyncio.gather(terminal.run("workspace list --json"), terminal.run("workspace list"))
    settings: dict[str, object] = {"alert_channel": None, "admins": [], "others": "scorer", "roles": {}}
    assert document.document == {
        "workspaces": [
            {"workspace": "T0045", "name": "Second", **settings},
            {"workspace": "T0123", "name": "Acme Ümläut", **settings},
        ]
    }
    assert rows(table) == [
        ["workspace", "name", "alert channel", "admins"],
        ["T0045", "Second", "—", "—"],
        ["T0123", "Acme Ümläut", "—", "—"],
    ]
    await terminal.check_refused(
        ("workspace add T0123 --name Again", "The workspace T0123 already exists"),
        ("workspace add T --name Short", "`T` is not a workspace id: Slack's look like T0123ABCD"),
        ("type list", "Choose a workspace: --workspace T0045 or --workspace T0123"),
        ("source list --json", "Choose a workspace: --workspace T0045 or --workspace T0123"),
        ("type list --workspace T0999", "There is no workspace T0999"),
    )
    (await terminal.run("workspace", "add", "T77", "--name", " ")).check_refused(
        "A workspace's name has 1 to 200 characters"
    )
    listed = await terminal.run("type list --workspace T0045 --json")
    assert listed.document == {"types": [SCORE]}


@pytest.mark.slow
async def test_a_workspace_is_set_up(terminal: Terminal) -> None:
    """Omitted options stay unchanged; if one option is refused, nothing is changed."""
    result = await terminal.run("workspace set T0123")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "Follow-ups go to the owner of a contact, else an admin.",
        "Admins beside the workspace's own: nobody.",
        "Working hours: Monday to Friday, 9:00-17:00 (UTC).",
    ]
    set_up = (await terminal.run("workspace set T0123 --alert-channel C0123 --admin U01 --admin W02 --json")).document
    hours = {"time_zone": "UTC", "hours": "9:00-17:00"}
    assert set_up == {"workspace": "T0123", "alert_channel": "C0123", "admins": ["U01", "W02"], **hours}
    set_up = (await terminal.run("workspace set T0123 --time-zone europe/berlin --hours 8-16:30 --json")).document
    assert (set_up["time_zone"], set_up["hours"]) == ("Europe/Berlin", "8:00-16:30")

    await terminal.check_refused(
        (
            "workspace set T0123 --admin U03 --alert-channel sales",
            "`sales` is not a channel id: Slack's look like C0123ABCD",
        ),
        (
            "workspace set T0123 --alert-channel C0456 --admin jane",
            "`jane` is not a user id: Slack's look like U0123ABCD",
        ),
        ("workspace set T0999 --admin U03", "There is no workspace T0999"),
        (
            "workspace set T0123 --alert-channel C0456 --hours 17-9",
            "`17-9` are not working hours: write them as 9:00-17:00",
        ),
        (
            "workspace set T0123 --alert-channel C0456 --time-zone Mars",
            "There is no time zone `Mars`: write it like Europe/Berlin, or America/New_York",
        ),
    )
    result = await terminal.run("workspace set T0123")
    assert result.out == (
        "Follow-ups go to C0123.\nAdmins beside the workspace's own: U01, W02.\n"
        "Working hours: Monday to Friday, 8:00-16:30 (Europe/Berlin).\n"
    )


@pytest.mark.slow
async def test_admins_are_added_listed_and_removed(terminal: Terminal) -> None:
    """Adding and removing leaves the others alone; the last admin is not removed, but the list can be emptied."""
    added = await terminal.run("workspace set T0123 --add-admin U01 --add-admin U02 --add-admin U01 --json")
    changed = await terminal.run("workspace set T0123 --add-admin U03 --remove-admin U01 --json")
    assert (added.document["admins"], changed.document["admins"]) == (["U01", "U02"], ["U02", "U03"])
    assert (await terminal.run("workspace list --json")).document["workspaces"][0]["admins"] == ["U02", "U03"]
    last = (
        "Nothing was changed: nobody would be named as an admin any more. Name another one with --add-admin; if the"
        " owners and admins of the Slack workspace are enough: contact-score workspace set T0123 --admin ''"
    )
    await terminal.check_refused(
        ("workspace set T0123 --remove-admin U02 --remove-admin U03", last),
        ("workspace set T0123 --remove-admin U09", "`U09` is not an admin by name; named are: U02, U03"),
        ("workspace set T0123 --add-admin jane", "`jane` is not a user id: Slack's look like U0123ABCD"),
    )
    mixed = await terminal.run("workspace set T0123 --admin U04 --add-admin U05")
    assert (mixed.code, mixed.out) == (2, "")
    result = await terminal.run("workspace", "set", "T0123", "--admin", "", "--json")
    assert result.document["admins"] == []


@pytest.mark.slow
async def test_score_types(terminal: Terminal) -> None:
    """A new score type is printed as requested; the default score type is listed first."""
    assert (await terminal.run(f"{FIT_WORDS} --json")).document == FIT
    plain = await terminal.run("type add net_revenue")
    assert (plain.code, plain.err) == (0, "")
    assert plain.out == "Added the score type `net_revenue`: Net revenue, 0 to 100, step 1.\n"

    fading = await terminal.run("type add heat --max 50 --half-life 2w --json")
    assert fading.document["half_life"] == "14d"

    document, table = await asyncio.gather(terminal.run("type list --json"), terminal.run("type list"))
    heat = {**SCORE, "key": "heat", "label": "Heat", "max": 50, "bands": [], "half_life": "14d", "default": False}
    revenue = {**SCORE, "key": "net_revenue", "label": "Net revenue", "bands": [], "default": False}
    assert document.document == {"types": [FIT, SCORE | {"default": False}, revenue, heat]}
    assert rows(table) == [
        ["key", "label", "range", "step", "bands", "half life", "default"],
        ["fit", "Fit", "-1 to 10", "0.5", "low from -1, high from 7.5 in purple", "—", "yes"],
        ["score", "Score", "0 to 100", "1", "cold from 0, warm from 40, hot from 80", "—", "—"],
        ["net_revenue", "Net revenue", "0 to 100", "1", "—", "—", "—"],
        ["heat", "Heat", "0 to 50", "1", "—", "14d", "—"],
    ]


@pytest.mark.slow
async def test_definitions_that_contradict_themselves(terminal: Terminal) -> None:
    """Invalid keys, ranges, steps and bands are refused in one line that says what would be valid."""
    await terminal.check_refused(
        (
            "type add Fit",
            "`Fit` cannot be a score type's key: use up to 32 lowercase letters, digits and _, a letter first",
        ),
        ("type add owner --json", "`owner` is a word of the filter language; choose another key"),
        ("type add score", "A score type is called `score` already; choose another key"),
        ("type add x --min 5 --max 5", "The minimum 5 must be below the maximum 5"),
        ("type add x --min 0,5", "`0,5` has a comma. Use a point: 0.5"),
        ("type add x --step 3", "The range 0 to 100 is not a multiple of the step 3"),
        (
            "type add x --band hot",
            "`hot` is not a band: write its name and its start, hot:80, or also its color, hot:80:red",
        ),
        (
            "type add x --band a:0:pink",
            "`pink` is not a color of a band: use grey, blue, green, yellow, orange, red, purple",
        ),
        ("type add x --half-life 30m", "`30m` is not a length of time: write 24h, 30d or 2w"),
        (
            "type add x --half-life 99999d",
            "A half-life is at least an hour (1h) and at most a hundred years (36500d)",
        ),
        ("type add x --band a:5", "The first band must start at the minimum: a:0"),
        ("type add x --band a:0 --band b:9 --band c:8", "The bands must start one above the other, lowest first"),
    )
    (await terminal.run("type", "add", "x", "--label", " ")).check_refused("A label has 1 to 60 characters")
    assert (await terminal.run("type list --json")).document == {"types": [SCORE]}  # nothing was created in part


@pytest.mark.slow
async def test_sources(terminal: Terminal) -> None:
    """A secret is shown once, when its source is created, and is in no list; ambiguous names are refused."""
    terminal.env["CONTACT_SCORE_PUBLIC_URL"] = "https://scores.example.com/"
    chosen = "whsec_" + "QUJD" * 8
    url = "https://scores.example.com/webhooks/T0123"
    source = (await terminal.run("source add crm --json")).document
    (secret,) = source.pop("secrets")
    assert source == {"slug": "crm", "provider": "generic", "url": f"{url}/crm"}
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    added = await terminal.run(f"source add old-crm --provider generic --secret {chosen} --secret {secret} --json")
    assert added.document["secrets"] == [chosen, secret]
    printed = await terminal.run("source add third")
    (printed_secret,) = re.findall(r"whsec_\S+", printed.out)
    assert printed_secret not in (secret, chosen)
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.splitlines() == [
        "Added the source `third`.",
        f"  1. Send POST requests with a JSON body to {url}/third",
        f"  2. Sign them as Standard Webhooks does, with the secret {printed_secret}",
        "The secret is not shown again. Try it: contact-score source send third FILE.json",
    ]

    document, table = await asyncio.gather(terminal.run("source list --json"), terminal.run("source list"))
    slugs = ["crm", "old-crm", "third"]
    assert document.document == {
        "sources": [{"slug": slug, "provider": "generic", "url": f"{url}/{slug}"} for slug in slugs]
    }
    assert rows(table) == [["slug", "provider", "url"], *([slug, "generic", f"{url}/{slug}"] for slug in slugs)]
    await terminal.check_refused(
        ("source add crm --json", "The source `crm` already exists; choose another name"),
        (
            "source add Crm",
            "`Crm` cannot name a source: use up to 40 lowercase letters, digits and -, a letter first",
        ),
        ("source add score", "`score` is reserved; choose another name, for example `score-crm`"),
        ("source add slack", "`slack` is reserved; choose another name, for example `slack-crm`"),
        ("type add third", "A source is called `third` already; choose another key"),
        (
            "source add x --provider nobody",
            "There is no provider `nobody`; choose from generic, custom, hubspot, pipedrive, salesforce, intercom,"
            " close, customerio, segment, mautic, attio, activecampaign, zoho, freshsales, marketo, zapier, n8n, make",
        ),
        ("source add x --secret hunter2", "Give the secret as whsec_ followed by 24 to 64 bytes in base64."),
        ("deliveries show 1", "There is no delivery 1; `contact-score deliveries list` names the latest"),
    )


@pytest.mark.slow
async def test_tokens(terminal: Terminal) -> None:
    """A token is shown once, when it is created; afterwards its number identifies it, for example to revoke it."""
    token = (await terminal.run("token create zapier --scope read --scope write --json")).document
    secret = token.pop("token")
    assert token == {"id": 1, "name": "zapier", "scopes": ["read", "write"]}
    result = await terminal.run("token", "create", "for people", "--scope", "read")
    first, printed_token, last = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert first == "Created the token 2, for people, which may read."
    assert last == "It is not shown again. Send it as: Authorization: Bearer …"
    assert len({secret, printed_token}) == 2
    assert min(len(secret), len(printed_token)) >= 32

    document, table = await asyncio.gather(terminal.run("token list --json"), terminal.run("token list"))
    for listed in (document, table):
        assert secret not in listed.out
        assert printed_token not in listed.out
    assert [(token["id"], token["name"], token["scopes"]) for token in document.document["tokens"]] == [
        (1, "zapier", ["read", "write"]),
        (2, "for people", ["read"]),
    ]
    assert [row[:3] for row in rows(table)] == [
        ["id", "name", "scopes"],
        ["1", "zapier", "read, write"],
        ["2", "for people", "read"],
    ]
    assert (await terminal.run("token revoke 1 --json")).document == {"revoked": 1}
    revoked = await terminal.run("token revoke 2")
    assert (revoked.code, revoked.err) == (0, "")
    assert revoked.out == "Revoked the token 2; requests with it are refused from now on.\n"
    listing, again = await asyncio.gather(terminal.run("token list"), terminal.run("token revoke 1"))
    assert listing.out == "No tokens yet. Create one: contact-score token create NAME --scope read\n"
    assert (again.code, again.out, len(again.err.splitlines())) == (1, "", 1)
    unknown, wrong, brief = await asyncio.gather(
        terminal.run("token create x --scope all"),
        terminal.run("token create x --scope read --expires soon"),
        terminal.run("token create brief --scope read --expires 90d --json"),
    )
    for refused in (unknown, wrong):
        assert (refused.code, refused.out, len(refused.err.splitlines())) == (1, "", 1)
    assert "`soon` is not a length of time: write 24h, 30d or 2w" in wrong.err
    assert set(brief.document) == {"id", "name", "scopes", "expires_at", "token"}


@pytest.mark.slow
@on_postgres
async def test_another_key_is_told(terminal: Terminal) -> None:
    """With another key everything but the secrets works, and `doctor` says what waits; a rotation keeps both keys."""
    await terminal.run("source add crm")
    other = KEY.replace("dGVz", "AAAA")
    terminal.env["CONTACT_SCORE_SECRET_KEYS"] = other
    complaint = (
        "The secret of `crm` needs a key that is missing, so it cannot stay valid for another day;"
        " set a new one instead: contact-score source set crm --secret …"
    )
    assert (await terminal.run("source show crm --json")).document["locked"]
    await terminal.check_refused(("source rotate crm", complaint))
    found = (await terminal.run("doctor --json")).document
    assert [row["sources"] for row in found["locked_secrets"]] == [["crm"]]
    terminal.env["CONTACT_SCORE_SECRET_KEYS"] = f"{other}, {KEY}"
    assert (await terminal.run("source list")).code == 0


async def test_a_command_without_a_verb_shows_its_help(terminal: Terminal) -> None:
    """The bare command and a bare noun print their help and exit with 0; flags are shown without a type."""
    for words, shown in (("", "workspace"), ("type", "remove"), ("type set --help", "--dry-run")):
        result = await terminal.run(words)
        assert (result.code, result.err) == (0, "")
        assert shown in result.out
        assert "<bool>" not in result.out


async def test_bad_usage_is_explained_in_plain_words(terminal: Terminal) -> None:
    """The explanation names the mistake and what to type, in no words of a library."""
    for words, complaint in (
        ("typ list", "There is no command typ. Did you mean `type`?"),
        ("type list --wrokspace T1", "There is no option --wrokspace. Did you mean `--workspace`?"),
        ("type set", "KEY is missing."),
        ("type list --workspace", "--workspace needs a value."),
        ("type list a b", "`a b` is too much: the command takes fewer words. Put a text with blanks in quotes."),
        ("deliveries show one", "ID must be a whole number, not `one`."),
        ("deliveries list --limit 0", "--limit must be at least 1, not `0`."),
        ("export --format xml", "--format: 'xml' is not one of 'csv', 'jsonl'."),
        ("import nowhere.csv", "FILE.csv: file 'nowhere.csv' does not exist."),
    ):
        result = await terminal.run(words)
        assert (result.code, result.out) == (2, "")
        assert result.err.splitlines()[1] == complaint
    settings = {**terminal.env, "CONTACT_SCORE_PORT": "abc", "CONTACT_SCORE_LOG_FORMAT": "x"}
    (await run("type", "list", env=settings)).check_refused(
        "CONTACT_SCORE_PORT: it must be a whole number", "CONTACT_SCORE_LOG_FORMAT: it must be `console` or `json`"
    )


@pytest.mark.slow
async def test_bad_usage_ends_with_2(terminal: Terminal) -> None:
    """Usage errors are printed on standard error and exit with 2; standard output stays empty."""
    lines = (
        "nonsense",
        "workspace add T0777",
        "source send crm no-such-file.json",
        "deliveries show one",
        "deliveries list --limit 0",
    )
    results = [
        *await asyncio.gather(*(terminal.run(words) for words in lines)),
        await run_anew("none", env=terminal.env),
    ]
    for result in results:
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("Usage: contact-score")


@pytest.mark.slow
async def test_what_the_surroundings_do_not_allow_is_one_line(tmp_path: Path) -> None:
    """A missing, invalid or wrongly configured database is one line with exit code 1, not a traceback."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "text.db").write_text("this is no database" * 1000)
    urls = {
        "not there": "postgres://nobody@127.0.0.1:9/nowhere",
        "no such folder": f"sqlite://{tmp_path}/file/scores.db",
        "no database": f"sqlite://{tmp_path}/text.db",
        "a folder": f"sqlite://{tmp_path}",
        "no scheme": "scores.db",
        "another scheme": "mysql://root@localhost/scores",
        "no port": "postgres://nobody@127.0.0.1:port/nowhere",
        "no file": "sqlite://",
    }
    cases = [*((name, "workspace list") for name in urls), ("not there", "migrate"), ("no database", "migrate")]
    places = asyncio.Semaphore(4)

    async def run_case(name: str, words: str) -> Ended:
        async with places:
            return await run(*words.split(), env=environment(urls[name]))

    results = await asyncio.gather(*(run_case(name, words) for name, words in cases))
    spoiled = {
        case: (end.code, end.err[-300:])
        for case, end in zip(cases, results, strict=True)
        if (end.code, end.out, len(end.err.splitlines())) != (1, "", 1)
    }

    assert spoiled == {}


@pytest.mark.slow
async def test_words_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    """Arguments that are not UTF-8 are refused before anything is done."""
    env, broken = environment(f"sqlite://{tmp_path}/scores.db"), "a\udcff"  # how Python passes a byte that is not UTF-8
    for words in (
        ("workspace", "add", "T0123", "--name", broken),
        ("export", "--filter", broken),
        ("token", "create", broken),
        (broken,),
    ):
        (await run_anew(*words, env=env)).check_refused(
            "One of the words after contact-score is not UTF-8: type it again."
        )
    assert not (tmp_path / "scores.db").exists()


@on_both
@pytest.mark.slow
async def test_numbers_beyond_the_database_are_one_line(terminal: Terminal) -> None:
    """A delivery id larger than the database can hold is reported as unknown."""
    id = 10**30
    await terminal.check_refused(
        (f"deliveries show {id}", f"There is no delivery {id}; `contact-score deliveries list` names the latest")
    )
