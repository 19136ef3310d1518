"""The service as a process: configuration errors, answers, logs and shutdown."""

import asyncio
import inspect
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from bot.cli import COMMANDS
from storage.bootstrap import open_storage
from storage.reading.current_scores import top
from storage.workspaces import find_workspace
from tests.bot.cli.program import PROGRAM, Serving, environment, run, run_anew, serving
from tests.conftest import KEY, on_both
from tests.webhooks.receiving import furnish_for_a_process
from tests.webhooks.sender import SECRET, Sender, encoded, item, session, signed

SLACK = (
    "SLACK_BOT_TOKEN: the Bot User OAuth Token (xoxb-…) of your Slack app",
    "SLACK_SIGNING_SECRET: the signing secret of your Slack app (or SLACK_APP_TOKEN: Socket Mode)",
)
ADVICE = "or leave Slack out and serve webhooks and API alone: contact-score serve --no-slack"
KEYS = "CONTACT_SCORE_SECRET_KEYS: 32 random bytes in url-safe base64, the same for every process"


def now() -> int:
    """Return the current time, in µs UTC: the process uses the system clock."""
    return time.time_ns() // 1000


async def get(open_session: ClientSession, url: str) -> tuple[int, Any]:
    """Fetch a document."""
    async with open_session.get(url) as answer:
        return answer.status, json.loads(await answer.read())


@on_both
@pytest.mark.slow
async def test_a_delivery_from_the_terminal_to_the_terminal(database_url: str, tmp_path: Path) -> None:
    """The README's first steps work: a workspace, a source, a test delivery to the running service, and its listing."""
    env = environment(database_url)
    assert (await run("workspace", "add", "T0123", "--name", "Acme", env=env)).code == 0
    async with serving(env=env) as serve, session() as open_session:
        env["CONTACT_SCORE_PUBLIC_URL"] = serve.url
        assert await get(open_session, f"{serve.url}/healthz") == (200, {"status": "ok"})
        assert await get(open_session, f"{serve.url}/readyz") == (200, {"status": "ready"})
        url, secret = await added(env)  # the running service finds the source without a restart
        sender = Sender(open_session, url, clock=now, secret=secret)
        files = {"good": {"items": [item(), item(value=101, id="e")]}, "bad": [1]}
        for name, document in files.items():
            (tmp_path / name).write_bytes(encoded(document))

        sent, printed = await asyncio.gather(
            run("source", "send", "crm", str(tmp_path / "good"), "--json", env=env),
            run("source", "send", "crm", str(tmp_path / "good"), env=env),
        )
        bad = await run("source", "send", "crm", str(tmp_path / "bad"), "--json", env=env)
        assert sent.document["status"] == told_status(printed.out) == 200
        assert sent.document["answer"]["quarantined"] == 1
        assert len(sent.document["answer"]["items"]) == 2
        assert (bad.code, json.loads(bad.out)["status"], bad.err) == (1, 400, "")
        assert (await sender.push(item(), delivery="mine", at=now() - 312_000_000)).status == 401
        assert (await sender.push(item(value=99), delivery="mine")).counts == (1, 0, 0, 0)

        listed, table, shown_delivery, people, in_other = await asyncio.gather(
            run("deliveries", "list", "--json", env=env),
            run("deliveries", "list", "--source", "crm", env=env),
            run("deliveries", "show", "1", "--json", env=env),
            run("deliveries", "show", "4", env=env),
            run("deliveries", "list", "--source", "other", "--json", env=env),
        )
        result = await serve.stop()

    assert (result.code, result.out) == (0, "")
    check_listed(listed.document, table.out)
    in_other.check_refused("There is no source `other` in T0123")
    shown_document = shown_delivery.document
    assert (
        shown_document["id"],
        shown_document["source"],
        shown_document["applied"],
        shown_document["quarantined"],
    ) == (1, "crm", 1, 1)
    assert [(item["item"], item["reason"]) for item in shown_document["items"]] == [
        (1, "Score runs from 0 to 100; 101 is outside it")
    ]
    assert json.loads(shown_document["items"][0]["content"]) == item(value=101, id="e")
    assert json.loads(shown_document["request"]["body"]) == files["good"]
    assert shown_document["request"]["headers"]["webhook-signature"] == "[withheld]"
    assert "Every item could be used." in people.out.splitlines()


def told_status(line: str) -> int:
    """Return the status that `source send` prints."""
    status, _, answer = line.partition(" ")
    assert set(json.loads(answer)) == {"applied", "duplicate", "ignored", "quarantined", "items"}
    return int(status)


async def added(env: dict[str, str]) -> tuple[str, str]:
    """Add the source `crm`, and return its URL and its secret."""
    source = (await run("source", "add", "crm", "--json", env=env)).document
    (secret,) = source["secrets"]
    return str(source["url"]), str(secret)


def check_listed(document: Any, table: str) -> None:
    """Fail unless four deliveries are listed, newest first, and one refusal with its hint."""
    own_delivery, *others = document["deliveries"]
    counts = ("applied", "duplicate", "ignored", "quarantined")
    assert [own_delivery[name] for name in ("id", "source", "delivery", *counts)] == [4, "crm", "mine", 1, 0, 0, 0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", own_delivery["received_at"])
    assert [[other_delivery[name] for name in counts] for other_delivery in others] == [
        [0, 0, 0, 1],
        [1, 0, 0, 1],
        [1, 0, 0, 1],
    ]
    (refusal,) = document["refused"]
    assert (refusal["source"], refusal["count"], refusal["reason"]) == ("crm", 1, "clock too far off")
    # the service went on meanwhile
    assert re.search(r"the sender's clock differs by 31\d s \(behind\)", refusal["hint"])
    lines = table.splitlines()
    assert lines[0].split() == ["id", "source", "delivery", "received", "at", *counts]
    assert f"Refused for `crm`: 1, last at {refusal['last_at']}." in lines
    assert f"  Because: clock too far off. {refusal['hint']}" in lines


@pytest.mark.slow
async def test_a_repeat_of_a_bad_item_is_not_called_usable(database_url: str) -> None:
    """A repeated delivery with a quarantined item is not shown as fully usable."""
    env = environment(database_url)
    await furnish_for_a_process(database_url)
    async with serving(env=env) as serve, session() as open_session:
        sender = Sender(open_session, f"{serve.url}/webhooks/T0123/crm", clock=now)
        for _ in range(2):
            assert (await sender.push(item(value=101), delivery="same")).counts == (0, 0, 0, 1)
    again = await run("deliveries", "show", "2", env=env)

    assert again.code == 0
    assert "Every item could be used." not in again.out


@asynccontextmanager
async def neighbour(kind: str) -> AsyncIterator[str]:
    """Return the URL of another server: one that hangs up, one that answers as a gateway, or a closed port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if kind == "a gateway":
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        if kind == "nobody":
            server.close()
        yield url
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nobody", "one who hangs up", "a gateway"])
async def test_sending_to_somebody_else(database_url: str, tmp_path: Path, kind: str) -> None:
    """If another server answers, `source send` exits with 1 and says what it met."""
    await furnish_for_a_process(database_url)
    (tmp_path / "file").write_bytes(encoded(item()))
    async with neighbour(kind) as url:
        env = environment(database_url, CONTACT_SCORE_PUBLIC_URL=url)
        result = await run("source", "send", "crm", str(tmp_path / "file"), "--json", env=env)

    if kind == "a gateway":
        assert (result.code, result.err[-200:]) == (1, "")
        assert json.loads(result.out)["status"] == 502
    else:
        result.check_refused(f"Nobody answers at {url}/webhooks/T0123/crm: is `contact-score serve` running there?")


@pytest.mark.slow
async def test_serve_says_what_it_needs(tmp_path: Path, free_port: int) -> None:
    """All missing and wrong settings are reported at once, a line each, and nothing is started."""
    sqlite, postgres = f"sqlite://{tmp_path}/scores.db", "postgres://nobody@127.0.0.1:9/nowhere"
    token, signing = {"SLACK_BOT_TOKEN": "xoxb-1"}, {"SLACK_SIGNING_SECRET": "s"}
    keyless = {"CONTACT_SCORE_SECRET_KEYS": ""}
    no_settings, no_signature, no_token, no_keys, bare = await asyncio.gather(
        run("serve", env=environment(sqlite)),
        run("serve", env=environment(sqlite, **token)),
        run("serve", env=environment(sqlite, **signing)),
        run("serve", env=environment(postgres, **keyless)),
        run("serve", "--no-slack", env=environment(postgres, **keyless)),
    )
    no_settings.check_refused(*SLACK, ADVICE)
    no_signature.check_refused(SLACK[1], ADVICE)
    no_token.check_refused(SLACK[0], ADVICE)
    no_keys.check_refused(KEYS, *SLACK, ADVICE)
    bare.check_refused(KEYS)

    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", free_port)
    on_taken_port = await run("serve", "--no-slack", env=environment(sqlite, CONTACT_SCORE_PORT=str(free_port)))
    listener.close()
    await listener.wait_closed()
    assert (on_taken_port.code, on_taken_port.out) == (1, "")
    (line,) = on_taken_port.err.splitlines()
    assert line.startswith(f"Cannot listen on 127.0.0.1:{free_port}: ")
    on_bad_host = await run("serve", "--no-slack", env=environment(sqlite, CONTACT_SCORE_HOST="scores..example"))
    on_bad_host.check_refused(
        "Cannot listen on scores..example:8080: there is no such address. Set CONTACT_SCORE_HOST and CONTACT_SCORE_PORT"
    )


@pytest.mark.slow
async def test_wrong_settings_are_told_all_at_once() -> None:
    """All wrong variables of the environment are reported in one message, which contains no secret."""
    wrong = {
        "CONTACT_SCORE_PORT": "99999",
        "CONTACT_SCORE_SECRET_KEYS": f"{KEY} not-a-key-but-a-secret",
        "CONTACT_SCORE_LOG_LEVEL": "loud",
        "CONTACT_SCORE_LOG_FORMAT": "prose",
        "CONTACT_SCORE_PUBLIC_URL": "scores.example.com",
        "SLACK_API_URL": "https:/slack.com/api/",
    }
    for words in (("serve",), ("source", "list", "--json")):
        result = await run(*words, env={**environment(None), **wrong})
        assert (result.code, result.out) == (1, "")
        lines = result.err.splitlines()
        assert {line.partition(":")[0] for line in lines} >= set(wrong)
        assert "CONTACT_SCORE_SECRET_KEYS: it needs 32 bytes in url-safe base64, 44 characters" in lines
        assert "CONTACT_SCORE_PUBLIC_URL: use https://scores.example.com, or http://…" in lines
        assert "not-a-key" not in result.err
        assert KEY not in result.err


@pytest.mark.slow
async def test_a_wrong_database_is_told_with_the_rest() -> None:
    """A wrong database URL is reported together with the other wrong settings."""
    wrong = {"CONTACT_SCORE_DATABASE_URL": "mysql://root@localhost/scores", "CONTACT_SCORE_PORT": "99999"}
    result = await run("serve", "--no-slack", env={**environment(None), **wrong})

    assert result.code == 1
    assert {line.partition(":")[0] for line in result.err.splitlines()} == set(wrong)


@pytest.mark.slow
async def test_wrong_and_missing_are_told_together(tmp_path: Path) -> None:
    """A wrong port and missing credentials are reported in one message."""
    result = await run_anew("serve", env=environment(f"sqlite://{tmp_path}/scores.db", CONTACT_SCORE_PORT="99999"))

    assert result.code == 1
    assert {line.partition(":")[0] for line in result.err.splitlines()} >= {
        "CONTACT_SCORE_PORT",
        "SLACK_BOT_TOKEN",
        "SLACK_SIGNING_SECRET",
    }


@pytest.mark.slow
async def test_a_delivery_under_way_is_answered_before_the_end(database_url: str) -> None:
    """On SIGTERM a delivery that waits for the database is recorded and answered; then the process exits with 0."""
    env = environment(database_url)
    await furnish_for_a_process(database_url)
    holding = sqlite3.connect(database_url.removeprefix("sqlite://"), isolation_level=None)
    async with serving(env=env) as serve:
        body, ask = encoded(item()), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        headers = {"content-type": "application/json", **signed(body, delivery="d", at=now())}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        port = int(serve.url.rpartition(":")[2])
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        holding.execute("BEGIN EXCLUSIVE")
        writer.write(f"POST /webhooks/T0123/crm HTTP/1.1\r\nHost: x\r\n{head}".encode())
        writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        idle_writer.write(ask)
        assert b"200 OK" in await idle.readuntil(b'"ok"}')  # so the service handles the earlier request
        serve.process.terminate()
        assert await idle.read() == b""  # connections without a request are closed: the shutdown has begun
        holding.execute("ROLLBACK")
        answer = await reader.readuntil(b"\r\n\r\n")
        result = await serve.ended()
        for each_writer in (writer, idle_writer):
            each_writer.close()
    holding.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert result.code == 0
    assert [
        delivery["delivery"] for delivery in (await run("deliveries", "list", "--json", env=env)).document["deliveries"]
    ] == ["d"]


DELIVERIES = 200
CANARIES = {
    "address": "ada.lovelace@leak.example",
    "owner": "rep@leak.example",
    "bot token": "xoxb-1111-leak",
    "app token": "xapp-1-leak",
    "bearer": "leak-bearer-token",
    "token in the address": "leak-query-token",
    "password": "bGVhay1wYXNzd29yZA==",
}
#: requests that are not HTTP and contain secrets: a space in the path, a byte that no header may hold
NO_HTTP = (
    f"POST /webhooks/T0123/crm?token={CANARIES['token in the address']}&name=Ada L HTTP/1.1\r\nHost: x\r\n\r\n",
    f"POST /webhooks/T0123/crm HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {CANARIES['password']}\x01\r\n\r\n",
)


async def break_tables(database_url: str) -> None:
    """Make the next fact fail inside the database, with a message that quotes the row on PostgreSQL."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite://"))) as connection:
            connection.execute("DROP TABLE effects")
        return
    connection = await asyncpg.connect(database_url.replace("postgres://", "postgresql://"))
    await connection.execute("ALTER TABLE facts ADD CONSTRAINT no_more CHECK (reason <> 'break')")
    await connection.close()


async def provoke(serve: Serving, secret: str, database_url: str) -> None:
    """Send requests with secrets and addresses: accepted, refused, malformed, and failing inside the service."""
    contact = {"email": CANARIES["address"], "name": "Ada", "owner": CANARIES["owner"]}
    body = item(contact=contact, reason=f"{CANARIES['bot token']} {CANARIES['app token']}")
    headers = {"Authorization": f"Bearer {CANARIES['bearer']}", "X-Note": secret}
    async with session() as open_session:
        sender = Sender(open_session, f"{serve.url}/webhooks/T0123/crm", clock=now, secret=secret)
        assert (await sender.push(body, headers=dict(headers))).status == 200
        assert (await sender.push(body | {"value": CANARIES["address"]}, headers=dict(headers))).status == 200
        assert (await sender.push([CANARIES["address"]], headers=dict(headers))).status == 400
        assert (await sender.post(encoded(body), headers=headers | {"webhook-id": CANARIES["address"]})).status == 401
        wrong: dict[str, str | None] = {"webhook-signature": f"v1,{secret}", "webhook-id": CANARIES["address"]}
        assert (await sender.push(body, headers=wrong)).status == 401
        for path in (CANARIES["address"], secret, CANARIES["bot token"]):
            assert (await sender.request("GET", f"{serve.url}/webhooks/T0123/{path}")).status == 404
            assert (await sender.request("PATCH", f"{serve.url}/{path}?token={secret}")).status == 404
        for request in NO_HTTP:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(serve.url.rpartition(":")[2]))
            writer.write(request.encode())
            assert (await reader.readline()).startswith(b"HTTP/1.0 400 ")
            writer.close()
        await break_tables(database_url)
        assert (await sender.push(body | {"reason": "break"}, headers=dict(headers))).status == 500


@on_both
@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_log_line_holds_a_secret_or_an_address(database_url: str, form: str) -> None:
    """No log line contains a secret, a token or an address, even if a request fails inside the database."""
    logs = {"CONTACT_SCORE_LOG_FORMAT": form.upper(), "CONTACT_SCORE_LOG_LEVEL": "DEBUG"}
    env = environment(database_url, **logs)
    await furnish_for_a_process(database_url)
    async with serving(env=env) as serve:
        await provoke(serve, SECRET, database_url)
        result = await serve.stop()
    lines = [*serve.startup_lines, *result.err.splitlines()]

    assert (result.code, result.out) == (0, "")
    if form == "json":
        events = [json.loads(line) for line in lines]
        assert {"event", "level", "logger", "timestamp"} <= set.intersection(*map(set, events))
        names = [event["event"] for event in events]
        assert names.count("delivery refused") == 2
        (failed,) = [event for event in events if event["event"] == "request not answered"]
        assert failed["level"] == "error"
        assert "Traceback" in failed["exception"]
        if database_url.startswith("postgres"):
            assert "[…]" in failed["exception"]  # something was redacted
    else:
        assert any("delivery refused" in line for line in lines)
        assert any("Traceback" in line for line in lines)
    for name, value in {**CANARIES, "secret": SECRET, "secret's key": SECRET[6:], "key": KEY}.items():
        assert value not in "\n".join(lines), name


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_replicas_share_one_postgres(database_url: str) -> None:
    """Two processes that receive the same deliveries at the same time record each once; the other is a duplicate."""
    await furnish_for_a_process(database_url)
    env = environment(database_url)
    people = [f"p{number}@example.com" for number in range(6)]
    async with serving(env=env) as first_serve, serving(env=env) as other, session() as open_session:
        senders = [Sender(open_session, f"{serve.url}/webhooks/T0123/crm", clock=now) for serve in (first_serve, other)]

        async def push(number: int, sender: Sender) -> list[tuple[str, str | None]]:
            rotated = people[number % 6 :] + people[: number % 6]  # each delivery names the contacts in another order
            rotated[3:] = [f"new{number}@example.com"] * 3  # and a new contact
            items = [item("score.add", email=email, score="points", value=number) for email in rotated]
            return (await sender.push({"items": items}, delivery=f"d{number}")).outcomes

        outcomes = []
        for first in range(0, DELIVERIES, 2):
            numbers = range(first, first + 2)
            outcomes += await asyncio.gather(*(push(number, sender) for number in numbers for sender in senders))
        assert [(await serve.stop()).code for serve in (first_serve, other)] == [0, 0]
    values = await points_of(database_url, [*people, *(f"new{number}@example.com" for number in range(DELIVERIES))])

    wrong = [outcome for outcome in outcomes if outcome not in ([("applied", None)] * 6, [("duplicate", None)] * 6)]
    assert wrong == []
    assert outcomes.count([("applied", None)] * 6) == DELIVERIES
    times = [range(DELIVERIES)[turn::6] for turn in range(6)]  # the contacts of each delivery
    expected = [sum(sum(times[(person - place) % 6]) for place in range(3)) for person in range(6)]
    assert values == [1000 * value for value in [*expected, *(3 * number for number in range(DELIVERIES))]]


async def points_of(database_url: str, people: list[str]) -> list[int]:
    """Return the `points` of contacts, in thousandths."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace = await find_workspace("T0123")
        _, cards = await top(workspace, score="points", count=1000, now=now())
    finally:
        await storage.close()
    values = {card.contact.email: standing.value for card in cards for standing in card.standings}
    return [values[email] for email in people]


@pytest.mark.slow
async def test_the_program_is_the_one_of_this_environment() -> None:
    """The installed program lists its commands, and `python -m bot` is the same program."""
    help_said = await run_anew("--help", env=environment(None))
    process = await asyncio.create_subprocess_exec(
        PROGRAM.with_name("python"), "-m", "bot", "--help", stdout=asyncio.subprocess.PIPE, env=environment(None)
    )
    out, _ = await process.communicate()

    assert (help_said.code, process.returncode) == (0, 0)
    for command in ("serve", "demo", "migrate", "verify", "workspace", "type", "source", "deliveries", "manifest"):
        assert f" {command} " in help_said.out
        assert f" {command} " in out.decode()


#: what only the service, posting or drawing needs
HEAVY = ("aiohttp", "slack_bolt", "slack_sdk", "structlog", "resvg_py")
#: what help needs in no case
STORING = (
    "asyncio",
    "tortoise",
    "asyncpg",
    "pydantic_settings",
    "cryptography",
    "lark",
    "storage.bootstrap",
)
#: what a list of settings needs in no case
RECORDING = ("lark", "storage.ledger", "storage.alerts", "storage.transfer", "bot.slack.handling", "webhooks")
#: Runs lines one after another.
IMPORTED = """
import sys
from bot.__main__ import main
for line in sys.argv[1:]:
    sys.argv[1:] = line.split()
    try:
        main()
    except SystemExit as exc:
        assert not exc.code, line
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "unneeded"),
    [
        (("--version", "--help", "source --help"), (*HEAVY, *STORING)),
        (("token list", "token list --json"), (*HEAVY, *RECORDING)),
        ([f"{name} --help" for name in COMMANDS], HEAVY),
    ],
)
async def test_commands_do_not_wait_for_what_they_do_not_need(
    lines: Sequence[str], unneeded: tuple[str, ...], database_url: str
) -> None:
    """A command does not import what only other commands, or only the service, needs."""
    assert (await run("workspace", "add", "T0123", "--name", "Acme", env=environment(database_url))).code == 0
    process = await asyncio.create_subprocess_exec(
        PROGRAM.with_name("python"), "-c", f"{IMPORTED}print(*sys.modules, file=sys.stderr)", *lines,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=environment(database_url),
    )  # fmt: skip  # the program, then how it runs
    _, err = await process.communicate()
    imported = err.decode().split()

    assert (process.returncode, [name for name in unneeded if name in imported]) == (0, []), err.decode()[-2000:]
    assert "bot.cli" in imported


def test_the_list_of_commands_has_the_words_of_their_help() -> None:
    """The line of a command in a list is the first paragraph of its own help."""
    for name, command in COMMANDS.items():
        module, _, function = command.place.partition(":")
        documented = inspect.getdoc(getattr(import_module(module), function)) or ""
        assert " ".join(documented.split("\n\n")[0].split()) == command.summary, name
