"""Create the databases of `tests/data/upgrade` with an installed older version, from outside.

    git worktree add /tmp/old COMMIT
    python3 -m venv /tmp/old-env
    /tmp/old-env/bin/pip install --no-deps --require-hashes -r requirements.lock
    /tmp/old-env/bin/pip install --no-deps --no-build-isolation -e /tmp/old
    .venv/bin/python -m tests.upgrade.make /tmp/old-env/bin/python

The data in the repository was made with commit ffa2733.

The older version is driven through its command line, HTTP and signed requests of Slack, on SQLite and on PostgreSQL,
with its clock at Christmas 2025: the captured requests of `tests/webhooks/samples` are valid for a few minutes around
2026-01-01T00:00:00Z. For each dialect this module writes the database itself, what Slack stored at the end
(`slack.json.xz`), and what programs outside received (`programs.json`). `contacts.csv` is the imported file."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from aiohttp import ClientSession

from tests.postgres import postgres_url, server
from tests.upgrade.databases import (
    DIALECTS,
    FOLDER,
    copy_csv,
    rows,
    store_document,
    store_postgres,
    store_sqlite,
    wait_until_none,
)
from tests.upgrade.product import Clock, Product, crm_request, deliver
from tests.upgrade.slack import (
    ADMIN,
    BOT,
    DEALS,
    JANE,
    LEADS,
    REP,
    SALES,
    SLACK_ADDRESS,
    TEAM,
    Held,
    Json,
    Slack,
    elements_of,
    name_of,
    slack_with,
)
from tests.webhooks.sender import SECRET

SAMPLES = FOLDER.parents[1] / "webhooks" / "samples"
SET_UP = datetime(2025, 12, 22, 9, 0, tzinfo=UTC)
MORNING = datetime(2025, 12, 23, 9, 1, tzinfo=UTC)
WORK = datetime(2025, 12, 31, 20, 0, tzinfo=UTC)
DELIVER = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
NAMES = ("Ada Lovelace", "Grace Hopper", "Grace Kelly", "Katherine Johnson", "Mary Jackson", "Dorothy Vaughan",
         "Hedy Lamarr", "Radia Perlman", "Barbara Liskov", "Frances Allen", "Ida Rhodes", "Jean Bartik")  # fmt: skip
STORM = 56  # contacts that become hot at once
BANDS = ("--band", "cold:0", "--band", "warm:40", "--band", "hot:80")

#: provider → the captured request, if any, and the options of its source
CAPTURED: dict[str, tuple[str, Sequence[str]]] = {
    "hubspot": ("hubspot_v3_batch_mixed", ("--map", "hubspotscore=measure")),
    "pipedrive": ("pipedrive_v2_person_score_change", ("--map", "9dc80c50d78a15643bfc4ca79d76156a73a1ca0e=measure")),
    "salesforce": ("salesforce_outbound_message", ("--map", "Lead_Score__c=measure")),
    "intercom": ("intercom_contact_updated", ("--map", "lead_score=measure")),
    "close": ("close_lead_updated", ("--map", "custom.cf_8wmpXYSgjLQzXeCQ7Cql0wXCpNyMqwLuMBRPT2Nk5aX=measure")),
    "customerio": ("customerio_webhook_action", ("--map", "lead_score=measure")),
    "segment": ("segment_single", ()),
    "mautic": ("mautic_points_change", ("--map", "points=measure")),
    "attio": ("attio_record_updated_thin", ("--map", "lead_score=measure", "--api-token", "attio-api-token",
                                            "--api-url", "http://127.0.0.1:9")),
    "activecampaign": ("activecampaign_automation_form", ("--map", "lead_score=measure")),
    "zoho": ("zoho_workflow_form", ()),
    "freshsales": ("freshsales_workflow_json", ("--map", "lead_score=measure")),
    "marketo": ("marketo_smart_campaign", ("--map", "leadScore=measure")),
    "custom": ("sw_valid_value", ()),
}  # fmt: skip  # one provider per line
MAPPING = {
    "email": "item.data.contact.email", "property": "item.data.score_type", "value": "item.data.value",
    "delta": "item.data.delta", "occurred_at": "item.timestamp", "id": 'headers."webhook-id"',
}  # fmt: skip
#: sources that a team sets up itself with a bearer token and a choice of fields
PLAIN = {"zapier": 61, "n8n": 62, "make": 63}
TOKEN = "tok_live_6f0c2a9b7e"  # the token in the captured requests

RULES = "\n".join(
    [
        '[[rule]]\nscore = "engagement"\nname = "Demo"\nactivity = "demo_booked"\npoints = 20\ncap = 40\nper = "day"\n',
        '[[rule]]\nscore = "engagement"\nname = "Visit"\nactivity = "visited"\npoints = 1\nif = "tag:vip"\n',
        '[[rule]]\nscore = "fit"\nname = "Has a company"\npoints = 10\nif = "company~company"\n',
        *(
            f'[[rule]]\nscore = "engagement"\nname = "Step {n}"\nactivity = "step_{n}"\npoints = {n}\n'
            for n in range(1, 13)
        ),
    ]
)


class Maker:
    """Drives an older version, and collects what programs outside receive from it."""

    def __init__(self, product: Product, slack: Slack, folder: Path) -> None:
        self.product = product
        self.slack = slack
        self.folder = folder
        self.programs: Json = {}
        self._deliveries = 0

    async def set_up(self) -> None:
        """Create score types, rules, sources, tokens and alert rules, and import a file."""
        slack, say = self.slack, self.product.say
        async with self.product.serve(self.slack):
            await slack.wait(lambda: bool(slack.held.messages))  # the questions to the admin
            await self.home(ADMIN, REP)
            await self.invited(DEALS)
            await self.invited(LEADS)
            await say("type", "add", "fit", *BANDS)
            await say("type", "add", "renewal", *BANDS)
            await say("type", "add", "heat", "--half-life", "7d", *BANDS)
            await say("type", "add", "engagement", *BANDS)
            await say("type", "add", "measure", "--min", "-1000", "--max", "1000", "--step", "0.1", "--start", "0")
            for number in range(6, 15):
                await say("type", "add", f"extra_{number}", "--max", "10", "--step", "0.5")
            (self.folder / "rules.toml").write_text(RULES)
            await say("rules", "apply", str(self.folder / "rules.toml"))
            await self.sources()
            await self.tokens()
            await self.people()
            await self.imports()
            for line in (
                "segment save hot score>=80",
                "segment save vips tag:vip",
                "segment save best segment:hot segment:vips",
            ):
                await slack.command(line)
            await self.alert_rules()

    async def sources(self) -> None:
        """Create two sources of one provider, and one of each other provider."""
        say = self.product.say
        for slug in ("crm", "crm-eu"):
            await say("source", "add", slug, "--provider", "generic", "--secret", SECRET)
        (self.folder / "mapping.json").write_text(json.dumps(MAPPING))
        for provider, (sample, options) in CAPTURED.items():
            source_options = _proof(json.loads((SAMPLES / f"{sample}.json").read_text()))
            if provider == "custom":
                source_options = [
                    "--recipe",
                    "standard-webhooks",
                    "--mapping",
                    str(self.folder / "mapping.json"),
                    *source_options,
                ]
            await say("source", "add", _slug(provider), "--provider", provider, *source_options, *options)
        for provider in PLAIN:
            await say(
                "source", "add", provider, "--provider", provider, "--token", TOKEN, "--map", "lead_score=measure"
            )

    async def tokens(self) -> None:
        """Create a token of each scope, and revoke one."""
        tokens = {}
        for name, scopes in {"reader": ["read"], "writer": ["read", "write"], "gone": ["read"]}.items():
            words = [word for scope in scopes for word in ("--scope", scope)]
            tokens[name] = json.loads(await self.product.say("token", "create", name, *words, "--json"))
        await self.product.say("token", "revoke", str(tokens["gone"]["id"]))
        self.programs["tokens"] = {name: token["token"] for name, token in tokens.items()}

    async def people(self) -> None:
        """Create contacts with scores, activities, tags and owners."""
        items: list[Json] = []
        for place, name in enumerate(NAMES):
            contact: Json = {
                "email": _address(name),
                "id": f"c{place}",
                "name": name,
                "company": f"Company {place % 5}",
            }
            contact |= {"owner": "rob@acme.example"} if place % 3 == 0 else {}
            contact |= {"tags": ["vip"] if place % 2 else ["trial", "vip"], "attributes": {"plan": "pro"}}
            items.append({"type": "contact.upsert", "contact": contact})
            reference = {"email": _address(name)}
            items.append({"type": "score.set", "contact": reference, "score": "score", "value": 30 + place})
            items.append({"type": "score.set", "contact": reference, "score": "heat", "value": 95})
            items.append({"type": "activity", "contact": reference, "activity": "demo_booked"})
        await self.push(items)

    async def imports(self) -> None:
        """Import a file, import and undo another, and import, undo and restore a third."""
        self.programs["csv"] = "contacts.csv"
        names = {}
        for number, name in enumerate(("contacts", "mistake", "back")):
            file = self.folder / f"{name}.csv"
            lines = [f"{name}{n}@example.com,{name.title()} {n},Imported {n % 3},{5 + n},{n * 2}" for n in range(12)]
            file.write_text("\n".join(["Email,Name,Company,score,fit", *lines, ""]))
            names[name] = file
            await self.product.say("import", str(file))
            if number:
                await self.product.say("import", str(file), "--undo")
        await self.product.say("import", str(names["back"]))
        copy_csv(names["contacts"], FOLDER)

    async def alert_rules(self) -> None:
        """Send follow-ups to owners, then to a channel, and create an alert rule of each kind."""
        slack = self.slack
        await slack.command("setup", user=ADMIN)
        await self.press("setup_direct", user=ADMIN)
        await self.push([_set("grace.kelly@example.com", 85), _set("ada.lovelace@example.com", 91)])
        await self.posted("follow_up", 2)
        await self.press("setup_channel", user=ADMIN, extra={"selected_conversation": SALES})
        for line in (
            f"alerts add when fit crosses 80 if segment:vips in <#{DEALS}>",
            f"alerts add when renewal crosses 50 in <#{LEADS}> hold 3d",
            f"alerts add when heat about to fall out of hot in 2d in <#{DEALS}>",
            f"alerts add when engagement crosses 60 in <#{DEALS}> sla 4h escalate to <@{JANE}>",
            "alerts add when score untouched for 3d in digest",
            "alerts add when score rises 15 in 7d in digest",
            f"alerts add when score crosses below 20 in <#{LEADS}>",
            f"alerts add when measure crosses 900 in <#{LEADS}>",
            "alerts pause 9",
            f"alerts add when measure crosses 950 in <#{LEADS}>",
            "alerts remove 10",
            f"alerts digest 9:00 in <#{DEALS}>",
            "alerts digest 9:00",
        ):
            reply = await slack.command(line, user=ADMIN)
            assert "There is" not in reply.text, (line, reply.text)

    async def morning(self) -> None:
        """Run the service until the digests are posted."""
        until = int(MORNING.timestamp() * 1e6)
        async with self.product.serve(self.slack):
            query = f"SELECT id FROM jobs WHERE kind = 'digest' AND due_at <= {until}"
            await wait_until_none(self.product.database_url, query)
        await self.posted("digest", 1)

    async def work(self) -> None:
        """Create follow-ups in each state, a hold, drafts, a merge, a deletion, an undo and all kinds of answers."""
        async with self.product.serve(self.slack):
            await self.follow_ups()
            await self.merge_and_delete()
            await self.undo()
            await self.draft()
            await self.hold()
            await self.ask_everything()
            await self.home(ADMIN, REP, JANE)
            await self.settled()

    async def follow_ups(self) -> None:
        """Create six follow-ups, and leave them in different states."""
        slack = self.slack
        people = [_address(name) for name in NAMES[3:9]]
        before = len(slack.held.messages)
        await self.push([_set(email, 84 + place) for place, email in enumerate(people)])
        await self.push([{"type": "activity", "contact": {"email": people[0]}, "activity": "demo_booked", "value": 2}])
        await self.push([_set(_address(NAMES[9]), 83, "fit")])
        await slack.wait(lambda: len(slack.held.messages) >= before + 8)
        messages = [message for message in slack.held.messages[before:] if message["channel"] == SALES]
        for message, actions in zip(messages, (("claim",), ("snooze",), ("done", "outcome"), ("done",)), strict=False):
            for action in actions:
                blocks = message["blocks"]
                await self.press_this(message, _element(message, action), user=REP)
                await slack.wait(partial(_is_changed, message, blocks))
        await self.push([_set(people[4], 10)])

    async def hold(self) -> None:
        """Start a hold before an admin changes a type, and another hold after that."""
        await self.push([_set("hannah.hold@example.com", 70, "renewal")])
        await self.product.say("type", "set", "extra_6", "--label", "Extra six")
        await self.push([_set("hugo.hold@example.com", 70, "renewal")])
        hold_rows = await rows(
            self.product.database_url,
            "SELECT c.email, m.taken FROM alert_memory m JOIN contacts c ON c.id = m.contact_id"
            " JOIN alert_rules r ON r.id = m.rule_id WHERE m.pending_until IS NOT NULL AND r.hold > 0 ORDER BY c.email",
        )
        taken_by = [(row["email"], bool(row["taken"])) for row in hold_rows]
        assert taken_by == [("hannah.hold@example.com", True), ("hugo.hold@example.com", False)], taken_by

    async def merge_and_delete(self) -> None:
        """Merge two contacts, delete one, and leave the form to delete another open."""
        slack = self.slack
        await self.push([_set(f"{name}@example.com", 33) for name in ("ida.r", "spam", "trash")])
        await slack.command("merge ida.r@example.com into ida.rhodes@example.com", user=ADMIN)
        await slack.command("delete spam@example.com", user=ADMIN)
        reply = await slack.submit(slack.held.modals.pop(), {"sure": True})
        assert "is gone" in reply.text, reply
        await slack.command("delete trash@example.com", user=ADMIN)

    async def undo(self) -> None:
        """Undo a change, and undo the undo."""
        slack = self.slack
        await slack.command("set hedy 44 because a mistake")
        await slack.command("undo")
        await slack.command("set radia 45 because it was right")
        await slack.command("undo")
        await self.press("undo", user=REP)
        await slack.command("set radia 46 because of the phone call")

    async def storm(self) -> None:
        """Make so many contacts hot at once that their follow-ups are posted as one list."""
        before = len(self.slack.held.messages)
        await self.push([_set(f"storm{number}@example.com", 90) for number in range(STORM)])
        await self.slack.wait(lambda: len(self.slack.held.messages) > before)

    async def draft(self) -> None:
        """Apply one draft, and leave three open: two from the rule form, one from the form of a score type."""
        slack = self.slack
        await slack.command("rules", user=ADMIN)
        for type in ("extra_10", "engagement", "extra_7"):
            await self.press("rule_form", user=ADMIN)
            option = {"text": {"type": "plain_text", "text": type}, "value": type}
            values = {"type": option, "name": "Call", "activity": "called", "points": "5"}
            reply = await slack.submit(slack.held.modals.pop(), values)
            assert "Until you decide" in reply.text, reply
            if type == "extra_10":
                await self.press("draft_apply", user=ADMIN)
        await slack.command("settings", user=ADMIN)
        await self.press("type_form", user=ADMIN, value="fit")
        reply = await slack.submit(slack.held.modals.pop(), {"maximum": "200"})
        assert "Until you decide" in reply.text, reply

    async def ask_everything(self) -> None:
        """Request each kind of answer with buttons, and open each form."""
        slack = self.slack
        for line in (
            "help", "ada", "view radia", "set ada 55", "set grace 50", "set zoe@example.com 61", "tpo 5", "top 5",
            "filter has:score",
            "filter tag:vip score>=30 limit:20", "history ada", "history radia score", "why ada heat", "followups",
            "followups mine", "followups overdue", "alerts", "add new@example.com name:New", "clear hedy score",
            "segment list", "segment show hot", "undo", "set", "alerts add",
        ):  # fmt: skip
            await slack.command(line)
        for line in ("setup", "settings", "rules", "ada", "filter has:fit", "alerts"):
            await slack.command(line, user=ADMIN, channel=DEALS)
        for action, value in (("set", None), ("type_form", "-"), ("type_form", "extra_8"), ("rule_form", "-")):
            await self.press(action, user=ADMIN, value=value)
        await self.press("alert_form", user=ADMIN)
        (more,) = elements_of(slack.held.modals[-1]["view"]["blocks"])
        await slack.press(slack.held.modals[-1], more, user=ADMIN)
        for line, action in (("settings", "settings"), ("rules", "rules")):  # left at the second page
            await slack.command(line, user=ADMIN)
            await self.press(action, user=ADMIN, value="12")
        for line, action in (("filter has:fit", "page"), ("followups", "followups")):
            await slack.command(line)
            await self.press(action, user=REP)
        await slack.shortcut("Call ada.lovelace@example.com", callback="score_message", user=REP, channel=SALES)

    async def deliver(self) -> None:
        """Send each provider's requests, post a list, and kill the process while two messages are being posted."""
        slack = self.slack
        async with self.product.serve(self.slack) as served:
            self.programs["deliveries"] = [await self.deliver_once(request) for request in self.requests()]
            await self.settled()
            for turns in range(3):  # three answers, each left at another page
                await slack.command("sources", user=ADMIN)
                for page in range(turns):
                    await self.press("sources", user=ADMIN, value=str(7 * (page + 1)))
            for action in ("source_aside", "source_try", "source_show", "source_rotate"):
                await self.press(action, user=ADMIN, value="crm")
            await self.press("source_form", user=ADMIN)
            await self.press("source_pause", user=ADMIN, value="crm-eu 0")
            await self.storm()
            await self.settled()
            await self.cursors()
            slack.silent, slack.deaf = {LEADS}, {DEALS}
            await self.push([_set("kim.killed@example.com", 8), _set("kai.killed@example.com", 88, "fit", tag="vip")])
            await slack.wait(lambda: slack.waiting == 2)
            # The message of this follow-up cannot be edited while another message is being posted in its channel.
            message = next(message for message in slack.held.messages if message["text"].startswith("Frances Allen"))
            await self.press_this(message, _element(message, "claim"), user=JANE)
            assert await served.kill() == -9
        slack.release()

    def requests(self) -> list[Json]:
        """Return one request of each provider, with headers."""
        requests = []
        for provider, (name, _) in CAPTURED.items():
            sample = json.loads((SAMPLES / f"{name}.json").read_text())
            query = urlsplit(sample["url"]).query
            path = f"/webhooks/{TEAM}/{_slug(provider)}" + (f"?{query}" if query else "")
            requests.append(
                {"slug": _slug(provider), "path": path, "headers": sample["headers"], "body": sample["body"]}
            )
        for provider, value in PLAIN.items():
            body = {"email": f"{provider}@example.com", "lead_score": value, "event_id": f"e-{provider}"}
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
            path = f"/webhooks/{TEAM}/{provider}"
            requests.append({"slug": provider, "path": path, "headers": headers, "body": json.dumps(body)})
        items = [
            _set("gail.generic@example.com", 64),
            _set("gail.generic@example.com", 64, "no_such_type"),
            {"type": "activity", "contact": {"email": "gail.generic@example.com"}, "activity": "visited"},
        ]
        return [*requests, crm_request(items, delivery="msg_kept", at=self.product.clock())]

    async def deliver_once(self, request: Json) -> Json:
        """Send a request. Return the request with its answer."""
        return request | {"answer": await deliver(self.slack.app_url, request)}

    async def push(self, items: list[Json]) -> None:
        """Send items as the CRM does. Fail unless all of them are applied."""
        self._deliveries += 1
        request = crm_request(items, delivery=f"msg_{self._deliveries}", at=self.product.clock())
        answer = await deliver(self.slack.app_url, request)
        assert json.loads(answer)["applied"] == len(items), answer

    async def cursors(self) -> None:
        """Request first pages of the API, and store their cursors."""
        cursors = []
        headers = {"Authorization": f"Bearer {self.programs['tokens']['reader']}"}
        paths = (
            "/api/v1/contacts?limit=10", "/api/v1/contacts?limit=10&q=has:score%20sort:-score",
            "/api/v1/contacts?limit=10&q=sort:name", "/api/v1/contacts?limit=10&q=has:heat%20sort:-heat",
            "/api/v1/contacts?limit=10&q=has:score%20limit:35",
            "/api/v1/contacts/ada.lovelace@example.com/scores/score/history?limit=1",
        )  # fmt: skip
        async with ClientSession() as session:
            for path in paths:
                async with session.get(self.slack.app_url + path, headers=headers) as answer:
                    page = await answer.json()
                    assert answer.status == 200, page
                    assert page["next_cursor"], path
                    cursors.append({"path": path, "cursor": page["next_cursor"], "first": len(page["items"])})
        self.programs["cursors"] = cursors

    async def home(self, *users: str) -> None:
        """Open the Home tabs of users."""
        for user in users:
            await self.slack.event(type="app_home_opened", user=user, tab="home", channel=f"D{user[1:]}")

    async def invited(self, channel: str) -> None:
        """Report that the admin invited the app to a channel."""
        await self.slack.event(type="member_joined_channel", user=BOT, channel=channel, inviter=ADMIN)

    async def press(self, action: str, *, user: str, value: str | None = None, extra: Json | None = None) -> str:
        """Press the newest button with an action, and a value if given, in a user's answers. Return the reply."""
        for answer in reversed([answer for answer in self.slack.held.answers if answer["user"] == user]):
            for element in elements_of(answer["blocks"]):
                if name_of(element) == action and value in (None, element.get("value")):
                    return await self.press_this(answer, element, user=user, extra=extra)
        raise AssertionError(f"{user} was shown no button {action} {value or ''}")

    async def press_this(self, message: Json, element: Json, *, user: str, extra: Json | None = None) -> str:
        """Press a button, and return the reply's text."""
        reply = await self.slack.press(message, element, user=user, extra=extra)
        assert "fault of ours" not in reply.text, (element, reply.text)
        return reply.text

    async def posted(self, event: str, number: int) -> None:
        """Wait until so many messages with an event type are posted."""
        messages = self.slack.held.messages
        await self.slack.wait(
            lambda: sum(message.get("metadata", {}).get("event_type") == event for message in messages) >= number
        )

    async def settled(self) -> None:
        """Wait until no job that posts or edits a message is due within a minute."""
        until = int(self.product.clock() * 1e6) + 60_000_000
        query = f"SELECT id FROM jobs WHERE due_at <= {until} AND kind IN ('ask', 'edit')"
        await wait_until_none(self.product.database_url, query)


def _element(message: Json, action: str) -> Json:
    """Return the first element of a message with an action."""
    return next(element for element in elements_of(message["blocks"]) if name_of(element) == action)


def _is_changed(message: Json, blocks: list[Json]) -> bool:
    """Return whether a message shows different blocks than these."""
    return message["blocks"] is not blocks


def _slug(provider: str) -> str:
    """Return the slug of a provider's source, which may not be a word of the filter language."""
    return "segment-io" if provider == "segment" else provider


def _address(name: str) -> str:
    return f"{name.lower().replace(' ', '.')}@example.com"


def _set(email: str, value: float, score: str = "score", *, tag: str | None = None) -> Json:
    contact: Json = {"email": email, "name": email.partition("@")[0].replace(".", " ").title()}
    contact |= {"tags": [tag]} if tag else {}
    return {"type": "score.set", "contact": contact, "score": score, "value": value}


def _proof(sample: Json) -> list[str]:
    """Return the command-line options that authenticate the sender of a captured request."""
    secret, public = sample["secret"], []
    if sample["provider"] == "hubspot":
        public = ["--public-url", sample["url"]]
    if isinstance(secret, str):
        return ["--secret", secret, *public]
    if "username" in secret:
        return ["--username", secret["username"], "--password", secret["password"]]
    if "organization_id" in secret:
        return ["--option", f"organization_id={secret['organization_id']}"]
    place = next(iter(secret))
    places = {"query_token": "query:token", "form_token": "form:token", "bearer": "bearer"}
    options = ["--token", secret.get("token", secret[place])]
    return [*options, "--token-in", places.get(place) or f"header:{secret['header']}"]


async def make(python: str, database_url: str, *, folder: Path) -> tuple[Json, Json]:
    """Run a version through all phases. Return what Slack and programs outside hold at the end."""
    clock = Clock(SET_UP)
    product = Product(python=python, database_url=database_url, clock=clock)
    async with slack_with(Held(), clock=clock) as slack:
        maker = Maker(product, slack, folder)
        await maker.set_up()
        clock.set(MORNING)
        await maker.morning()
        clock.set(WORK)
        await maker.work()
        clock.set(DELIVER)
        await maker.deliver()
        text = json.dumps(asdict(slack.held)).replace(slack.url.removesuffix("/api/"), SLACK_ADDRESS)
        return json.loads(text), maker.programs


async def main(python: str) -> None:
    """Make and store the databases of both dialects with their documents."""
    FOLDER.mkdir(exist_ok=True)
    for dialect in DIALECTS:
        target = FOLDER / dialect
        target.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as name, server() as socket:
            folder = Path(name)
            if dialect == "sqlite":
                stored_data = await make(python, f"sqlite://{folder / 'scores.db'}", folder=folder)
                store_sqlite(folder / "scores.db", target / "database.db.xz")
            else:
                connection = await asyncpg.connect(host=socket, user="postgres", database="postgres")
                await connection.execute("CREATE DATABASE made")
                await connection.close()
                stored_data = await make(python, postgres_url(socket, "made"), folder=folder)
                store_postgres(socket, "made", target / "database.sql.xz")
        store_document(stored_data[0], target / "slack.json.xz")
        (target / "programs.json").write_text(json.dumps(stored_data[1], ensure_ascii=False, indent=1) + "\n")
        print(f"{dialect}: {', '.join(f'{len(entries)} {name}' for name, entries in stored_data[0].items())}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
