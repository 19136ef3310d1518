"""A database of an earlier version continues to work: it is migrated, its jobs run, its buttons work, and it verifies.

`tests/upgrade/make.py` states how the data was made, and with which version. This test imports nothing of the product.
When an answer has new words, `ANSWERS` and `FORMS` change too; action ids, job kinds and tables never change."""

import json
import re
from collections import Counter
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.counts import report_counts
from tests.upgrade.databases import (
    FOLDER,
    copy_csv,
    restore_document,
    rows,
    wait_until_none,
)
from tests.upgrade.product import Clock, Product, crm_request, deliver
from tests.upgrade.slack import (
    DEALS,
    LEADS,
    REP,
    SALES,
    SLACK_ADDRESS,
    Held,
    Json,
    Slack,
    choices_of,
    elements_of,
    name_of,
    readable,
    slack_with,
)

#: The signatures of the deliveries are valid until 00:05.
SOON = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
#: A Monday after the end of all claims, snoozes, holds, leases and digests.
LATER = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
#: buttons that turn a page, with their labels
ONWARD = {"page": "Next", "followups": "Next", "settings": "More score types", "rules": "More rules",
          "sources": "More sources"}  # fmt: skip
#: actions that are pressed first, in this order, because another button would remove their draft
FIRST = (("draft_preview",), ("draft_apply", "draft_ask", "draft_cancel"))
#: Attio's answer when a record is read
RECORD = {
    "email_addresses": [{"email_address": "alma@example.com", "active_from": "2025-12-30T10:00:00Z"}],
    "lead_score": [{"value": 55, "active_from": "2025-12-30T10:00:00Z"}],
}
_ENDED = r"(claimed it|marked it done|snoozed it) already|closed automatically"
_NO_DRAFT = "draft no longer exists"
#: action → pattern of the answer when it took effect, and when somebody else was faster
ANSWERS: dict[str, tuple[str, str | None]] = {
    "undo": (r"· undone\n", "that was undone already"),
    "history": (r"· Score|· Heat", None),
    "chart": (r"set to", None),
    "set": (r"Extra six\n", None),
    "page": (r"\d+–\d+ of \d+ contacts fit", None),
    "share": (r"Shared by <@U0", None),
    "run": (r"→ \*50\* \(warm\)|Top 5 by Score", None),
    "create": (r"zoe@example.com · Score — → \*61\*", None),
    "claim": (r"You claimed", _ENDED),
    "snooze": (r"Snoozed .+ for a day", _ENDED),
    "done": (r"Marked .+ done\. What was the outcome\?", _ENDED),
    "outcome": (r": (meeting|no reply|bad fit)\.", None),
    "follow_up_menu": (r"Created", None),
    "followups": (r"Open follow-ups|Your follow-ups", None),
    "alert_form": (r"When this score", None),
    "alert_more": (r"Only if it stays so for", None),
    "setup_channel": (r"Follow-ups go to <#C0SALES>", None),
    "setup_direct": (r"Follow-ups go to the owner", None),
    "setup_setters": (r"Every member may set|Only admins set", None),
    "setup_here": (r"Follow-ups go to <#C0(DEALS|LEADS)>", None),
    "setup_no": (r"do not come here", None),
    "settings": (r"Score types", None),
    "type_form": (r"Half-life", None),
    "draft_preview": (r"Until you decide", None),
    "draft_apply": (r"No follow-ups were created\.", _NO_DRAFT),
    "draft_ask": (r"follow-ups? (was|were) created\.", _NO_DRAFT),
    "draft_back": (r"Taken back\.", None),
    "owner": (r"You own Radia Perlman", None),
    "draft_cancel": (r"Canceled: nothing was changed", _NO_DRAFT),
    "rules": (r"Rules:", None),
    "rule_form": (r"Maximum points", None),
    "rule_menu": (r"Until you decide|Maximum points", r"Rules:"),
    "sources": (r"Sources:", None),
    "source_form": (r"What sends", None),
    "source_show": (r"webhooks/T0ACME/", None),
    "source_try": (r"Test of", None),
    "source_pause": (r"paused", None),
    "source_resume": (r"Sources:", None),
    "source_rotate": (r"gets a new secret", None),
    "source_aside": (r"Quarantine of", None),
    "source_replay": (r"Replayed \d+ deliver(y|ies) of \*crm\*", None),
}
#: form → values entered, and pattern of the answer
FORMS: dict[str, tuple[Json, str]] = {
    "set_score": ({"score_score": "66"}, r"Ada Lovelace · Score \d+ → \*66\*|Ada Lovelace · Score 66 → \*66\*"),
    "alert": ({"value": "70"}, r"Added rule \d+|Rule \d+ is the same"),
    "delete_contact": ({"sure": True}, r"\*Trash\* is deleted"),
    "score_type": ({"key": "newer", "label": "Another label"}, r"Added the score type|is called Another label now"),
    "rule": ({"name": "Reply", "activity": "replied", "points": "3"}, r"Until you decide"),
    "source": ({"slug": "shop"}, r"Added the source shop"),
    "rotate": ({}, r"has a new secret"),
}
#: the least number of each in the stored data
FEWEST = {
    "buttons pressed": 434,
    "forms handed in": 11,
    "pages turned": 19,
    "pages of the API turned": 39,
    "jobs run": 12,
    "deliveries repeated": 18,
}


class Upgraded:
    """The newest version on the data of an earlier version."""

    def __init__(self, product: Product, slack: Slack, programs: Json) -> None:
        self.product = product
        self.slack = slack
        self.programs = programs
        self.stored = deepcopy(slack.held)
        self.counts = Counter[str]()
        self.done = Counter[str]()  #: action → how often it took effect

    async def verify(self) -> None:
        """Fail if a recalculation differs from what is stored."""
        verified = (await self.product.run("verify", "--json")).document
        assert verified["number_of_differences"] == 0, verified
        assert verified["contacts"] > 100

    async def deliver_again(self) -> None:
        """Send each provider's delivery again byte by byte. Fail if anything is applied twice."""
        for delivery in self.programs["deliveries"]:
            text = await deliver(self.slack.app_url, delivery)
            if delivery["answer"].startswith("{"):
                before, now = json.loads(delivery["answer"]), json.loads(text)
                expected = (0, before["applied"], before["ignored"], before["quarantined"])
                counts = (now["applied"], now["duplicate"], now["ignored"], now["quarantined"])
                assert counts == expected, (delivery["slug"], text)
            else:
                assert text == delivery["answer"]
            self.counts["deliveries repeated"] += 1

    async def add_to_list(self) -> None:
        """Make more contacts hot within ten minutes of a posted list, and wait until the list shows them."""
        (posted,) = [message for message in self.slack.held.messages if message["text"].startswith("Many follow-ups")]
        items = [
            {"type": "score.set", "contact": {"email": f"late{n}@example.com"}, "score": "score", "value": 93}
            for n in range(3)
        ]
        await deliver(self.slack.app_url, crm_request(items, delivery="msg_late", at=self.product.clock()))
        await self.slack.wait(lambda: all(f"late{n}@example.com" in readable(posted) for n in range(3)))
        assert "storm0" in readable(posted).lower()
        assert [self.count_asked(SALES, f"late{n}") for n in range(3)] == [0, 0, 0]

    async def claim_in_list(self) -> None:
        """Claim a follow-up of the posted list, and wait until the list shows the claim."""
        (posted,) = [message for message in self.slack.held.messages if message["text"].startswith("Many follow-ups")]
        blocks = (await self.slack.command("followups")).calls[-1]["blocks"]
        answer = deepcopy(self.slack.held.answers[-1])
        while "late0@" not in readable({"blocks": blocks}):
            onward = next(filter(_is_onward, elements_of(blocks)))
            blocks = (await self.slack.press(answer, onward, user=REP)).calls[-1]["blocks"]
        place = next(n for n, block in enumerate(blocks) if "late0@" in block.get("text", {}).get("text", ""))
        claim = next(element for element in elements_of(blocks[place:]) if name_of(element) == "claim")
        await self.slack.press(answer, claim, user=REP)
        await self.slack.wait(lambda: bool(re.search(rf"late0@.*Claimed by <@{REP}>", readable(posted))))

    async def import_again(self, folder: Path) -> None:
        """Import the same file again. Fail if anything changes."""
        file = copy_csv(FOLDER / self.programs["csv"], folder)
        report = (await self.product.run("import", str(file), "--json")).document
        assert (report["new"], report["changed"], report["wrong"]) == (0, 0, 0), report
        assert report["same"] > 10

    async def follow_cursors(self) -> None:
        """Follow each cursor to the last page. Fail unless the pages make up the whole list."""
        headers = {"Authorization": f"Bearer {self.programs['tokens']['reader']}"}
        async with ClientSession(headers=headers) as session:

            async def page(path: str) -> Any:
                async with session.get(self.slack.app_url + path) as response:
                    assert response.status == 200, (path, await response.text())
                    return await response.json()

            for stored in self.programs["cursors"]:
                items, cursor = (await page(stored["path"]))["items"], stored["cursor"]
                while cursor:
                    document = await page(f"{stored['path']}&cursor={cursor}")
                    items, cursor = items + document["items"], document["next_cursor"]
                    self.counts["pages of the API turned"] += 1
                whole = await page(re.sub("limit=[0-9]+", "limit=1000", stored["path"], count=1))
                assert items == whole["items"], stored["path"]
                assert len(items) > stored["first"]

    async def use_the_api(self) -> None:
        """Use all tokens, one of which is revoked, load a merged contact, and send an old item of a deleted contact."""
        statuses = {}
        for name, token in self.programs["tokens"].items():
            async with (
                ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
                session.put(
                    f"{self.slack.app_url}/api/v1/contacts/hedy.lamarr@example.com/scores/extra_11", json={"value": 7}
                ) as response,
            ):
                statuses[name] = response.status
        assert statuses == {"reader": 403, "writer": 200, "gone": 401}
        merged = [await self.contact(email) for email in ("ida.r@example.com", "ida.rhodes@example.com")]
        assert merged[0]["id"] == merged[1]["id"]
        old = {"type": "score.set", "contact": {"email": "spam@example.com"}, "score": "score", "value": 5}
        old |= {"occurred_at": "2025-12-31T19:00:00Z"}
        answer = await deliver(self.slack.app_url, crm_request([old], delivery="old", at=self.product.clock()))
        assert json.loads(answer)["ignored"] == 1, answer

    async def turn_pages(self) -> None:
        """Turn the pages of each answer to the last page."""
        for answer in self.stored.answers:
            blocks = answer["blocks"]
            while onward := next(filter(_is_onward, elements_of(blocks)), None):
                reply = await self.slack.press(answer, onward, user=answer["user"])
                assert re.search(ANSWERS[name_of(onward)][0], reply.text), reply.text
                assert reply.calls[-1]["blocks"] != blocks
                blocks = reply.calls[-1]["blocks"]
                self.counts["pages turned"] += 1

    async def press_everything(self) -> None:
        """Press each button and each choice of a menu in messages, answers, forms and Home tabs."""
        stored = self.stored
        everything: list[tuple[str, Json, list[Json]]] = [
            *((_reader(message), message, message["blocks"]) for message in stored.messages),
            *((answer["user"], answer, answer["blocks"]) for answer in stored.answers),
            *((view["user"], view, view["view"]["blocks"]) for view in [*stored.homes, *stored.modals]),
        ]
        clicks, alike = [], Counter[tuple[str, ...]]()
        for user, message, blocks in everything:
            elements = elements_of(blocks)
            names = tuple(map(name_of, elements))
            start = alike[names] % max(1, len(names))  # similar answers start with different elements
            alike[names] += 1
            for element in elements[start:] + elements[:start]:
                clicks += [(user, message, element, choice) for choice in choices_of(element)]
        clicks.sort(key=lambda click: _turn(name_of(click[2])))
        for user, message, element, choice in clicks:
            reply = await self.slack.press(message, element, user=user, extra=choice)
            name = name_of(element)
            did, instead = ANSWERS[name]
            match = re.search(did, reply.text)
            assert reply.status == 200
            assert match or (instead and re.search(instead, reply.text)), (element, choice, reply.text)
            self.done[name] += bool(match)
            self.counts["buttons pressed"] += 1

    async def hand_in_forms(self) -> None:
        """Submit each form that was open."""
        for modal in self.stored.modals:
            values, expected = FORMS[modal["view"]["callback_id"]]
            values = dict(values)
            for block in modal["view"]["blocks"]:
                if block["type"] == "input" and block["element"]["type"] == "external_select":
                    offered = await self.slack.options(modal, block=block["block_id"], action="contact", value="ada.l")
                    values[block["block_id"]] = offered[0]
                if block.get("block_id") == "provider":
                    values["provider"] = block["element"]["options"][0]
            reply = await self.slack.submit(modal, values)
            assert re.search(expected, reply.text), (modal["view"]["callback_id"], reply.text)
            self.counts["forms handed in"] += 1

    async def run_jobs(self) -> None:
        """Wait until no job is due."""
        until = int(self.product.clock() * 1e6)
        query = f"SELECT id FROM jobs WHERE due_at <= {until} AND given_up_at IS NULL"
        await wait_until_none(self.product.database_url, query)

    async def check_jobs(self, before: dict[int, Json]) -> int:
        """Return the number of earlier jobs. Fail unless each is done or rescheduled, and none was given up."""
        now = await self.stored_jobs()
        assert not [job for id, job in before.items() if id in now and now[id]["due_at"] == job["due_at"]]
        assert not [job for job in now.values() if job["given_up_at"] is not None]
        return len(before)

    async def contact(self, email: str) -> Any:
        """Return a contact as the API shows it."""
        headers = {"Authorization": f"Bearer {self.programs['tokens']['reader']}"}
        async with (
            ClientSession(headers=headers) as session,
            session.get(f"{self.slack.app_url}/api/v1/contacts/{email}") as response,
        ):
            assert response.status == 200, (email, response.status)
            return await response.json()

    async def stored_jobs(self) -> dict[int, Json]:
        """Return the jobs by row id."""
        job_rows = await rows(self.product.database_url, "SELECT id, kind, due_at, given_up_at FROM jobs")
        return {row["id"]: row for row in job_rows}

    def count_asked(self, channel: str, name: str) -> int:
        """Return the number of follow-ups about a contact in a channel."""
        return sum(
            message["channel"] == channel
            and message.get("metadata", {}).get("event_type") == "follow_up"
            and message["text"].startswith(name)
            for message in self.slack.held.messages
        )


def _reader(message: Json) -> str:
    """Return a user who reads a message."""
    channel = str(message["channel"])
    return f"U{channel[1:]}" if channel[0] == "D" else REP


def _is_onward(element: Json) -> bool:
    return element["type"] == "button" and bool(ONWARD.get(name_of(element)) == element["text"]["text"])


def _turn(name: str) -> int:
    """Return the rank of an action in the order of presses."""
    return next((place for place, names in enumerate(FIRST) if name in names), len(FIRST))


async def test_what_the_version_before_left_lives_on(stored_url: str, tmp_path: Path) -> None:
    """Each job, button, page, cursor, form, delivery and file of an earlier version works with the newest version."""
    dialect = stored_url.partition(":")[0]
    clock = Clock(SOON)
    product = Product(database_url=stored_url, clock=clock)
    programs = json.loads((FOLDER / dialect / "programs.json").read_text())
    async with slack_with(Held(), clock=clock) as slack:
        stored = json.dumps(restore_document(FOLDER / dialect / "slack.json.xz"))
        slack.held = Held(**json.loads(stored.replace(SLACK_ADDRESS, slack.url.removesuffix("/api/"))))
        upgraded = Upgraded(product, slack, programs)
        jobs = await upgraded.stored_jobs()
        await product.say("migrate")
        await upgraded.verify()
        async with product.serve(slack):
            await upgraded.deliver_again()
            await upgraded.follow_cursors()
            await upgraded.use_the_api()
            await upgraded.add_to_list()
            await upgraded.claim_in_list()
        clock.set(LATER)
        await upgraded.import_again(tmp_path)
        slack.other = {"data": {"values": RECORD}}
        await product.say("source", "set", "attio", "--api-url", f"{slack.url.removesuffix('/api/')}/other")
        before = len(slack.held.messages)
        async with product.serve(slack):
            await upgraded.run_jobs()
            upgraded.counts["jobs run"] = await upgraded.check_jobs(jobs)
            posted = Counter(message["metadata"]["event_type"] for message in slack.held.messages[before:])
            assert posted["word"] >= 3, posted  # a released claim, a snooze that ended and an escalation
            assert posted["digest"] >= 1, posted
            # Each hold fired once, including the one that was stored as both taken and pending.
            assert [upgraded.count_asked(LEADS, name) for name in ("Hannah Hold", "Hugo Hold")] == [1, 1]
            # Both were being posted when the process was killed; Slack had stored the first one.
            assert [upgraded.count_asked(LEADS, "Kim Killed"), upgraded.count_asked(DEALS, "Kai Killed")] == [1, 1]
            assert (await upgraded.contact("alma@example.com"))["scores"]["measure"]["value"] == 55
            await upgraded.turn_pages()
            await upgraded.press_everything()
            await upgraded.hand_in_forms()
            await upgraded.run_jobs()
        await upgraded.verify()
    report_counts(f"upgraded on {dialect}", upgraded.counts)
    assert [name for name in ANSWERS if not upgraded.done[name]] == []
    assert [name for name, fewest in FEWEST.items() if upgraded.counts[name] < fewest] == []
