"""Add contacts by typing, update them, undo that, and undo an import."""

import asyncio
from pathlib import Path

import pytest

from storage.transfer.csv_files import recognize
from storage.transfer.import_batch import batch_of
from storage.transfer.import_columns import choose_columns
from storage.transfer.import_csv import import_file
from tests.conftest import on_both
from tests.journeys.acme import Acme
from tests.journeys.admin import ask, press

ADDED = [
    ("add zoe@example.com", "*zoe@example.com* · added"),
    ('add zoe@example.com name:"Zoë Brown"', "*Zoë Brown* · added · zoe@example.com"),
    (
        "add Zoe@Example.com NAME:Zoë company:“Top Gun & Sons” owner:me",
        "*Zoë* · added · Zoe@Example.com · company *Top Gun &amp; Sons* · owner *rep@acme.example*",
    ),
    ("add zoe@example.com owner:@jane", "*zoe@example.com* · added · owner *jane@acme.example*"),
    ("add zoe@example.com owner:Rep@acme.example", "*zoe@example.com* · added · owner *Rep@acme.example*"),
]


@pytest.mark.parametrize(("line", "answer"), ADDED, ids=[line for line, _ in ADDED])
async def test_a_contact_is_added(acme: Acme, line: str, answer: str) -> None:
    """The answer shows the contact; the change can be undone, and a score can be set at once."""
    text = acme.seen(await acme.ask(line))

    assert text == f"{answer}\n[Undo] [Set]"
    assert (await acme.contact("zoe@example.com")).email is not None


async def test_who_is_there_already_is_told_with_what_changed(acme: Acme) -> None:
    """Adding an existing contact records and shows only the fields that differ."""
    answers = [
        acme.seen(await acme.ask(line))
        for line in (
            "add ADA@example.com",
            'add ada@example.com name:"Ada Lovelace" owner:rep@acme.example',
            'add ada@example.com name:"Ada King" company:"Analytical Engines" owner:@jane',
            "add kelly@example.com owner:me",
        )
    ]

    assert answers == [
        "Ada Lovelace · already exists; nothing was changed\n[Set]",
        "Ada Lovelace · already exists; nothing was changed\n[Set]",
        "Ada Lovelace · already existed · name Ada Lovelace → *Ada King*"
        " · owner rep@acme.example → *jane@acme.example*\n[Undo] [Set]",
        "Grace Kelly · already existed · owner — → *rep@acme.example*\n[Undo] [Set]",
    ]
    ada = await acme.contact("ada@example.com")
    assert (ada.name, ada.company, ada.owner) == ("Ada King", "Analytical Engines", "jane@acme.example")


REFUSED = [
    ("add", 'Name the contact: `/score add ada@example.com name:"Ada Lovelace"`'),
    (
        "add Zoë name:Zoë",
        '`Zoë` is not an e-mail address. Name the contact: `/score add ada@example.com name:"Ada Lovelace"`',
    ),
    ("add zoe@example.com name:Zoë Brown", 'Put several words in quotes: `name:"Zoë Brown"`'),
    (
        "add zoe@example.com Zoë",
        '`Zoë` is not a field of a contact. After the address you can type `name:"Ada Lovelace"`, `company:Acme`,'
        " `owner:me`.",
    ),
    (
        "add zoe@example.com tag:vip",
        '`tag:vip` is not a field of a contact. After the address you can type `name:"Ada Lovelace"`, `company:Acme`,'
        " `owner:me`.",
    ),
    (
        "add zoe@example.com 85",
        "`add` takes no values. To add a contact with a score: `/score set zoe@example.com 85`",
    ),
    ("add zoe@example.com name:Zoë name:Zoe", "Name is given twice; type it once."),
    ("add zoe@example.com company:", "Type the company: `company:Acme`, or leave `company:` out."),
    (
        "add zoe@example.com owner:jane",
        "`jane` is nobody's address. Type `owner:me`, `owner:@jane` or `owner:rep@example.com`.",
    ),
    (f"add zoe@example.com name:{'z' * 256}", "A name has at most 255 characters; this one has 256."),
]


@pytest.mark.parametrize(("line", "answer"), REFUSED, ids=[line[:40] for line, _ in REFUSED])
async def test_what_cannot_be_added(acme: Acme, line: str, answer: str) -> None:
    """A refusal says what to type instead, and no contact is created."""
    assert acme.seen(await acme.ask(line)) == answer
    assert "yet" in acme.seen(await acme.ask("zoe@example.com"))


@on_both
async def test_adding_is_taken_back_and_restored(acme: Acme) -> None:
    """After an undo the contact is no longer listed; it works by button and by verb, and can be undone."""
    added = await acme.ask("add zoe@example.com name:Zoë company:Acme")
    undone = await acme.press(added, "Undo")
    assert acme.seen(undone) == "zoe@example.com · undone; the contact is no longer listed\n[Undo]"
    assert acme.seen(await acme.ask("filter email~zoe")).startswith("No contacts match")

    await acme.press(undone, "Undo")
    assert (await acme.contact("zoe@example.com")).name == "Zoë"
    assert acme.seen(await acme.ask("undo")) == "zoe@example.com · undone; the contact is no longer listed\n[Undo]"
    assert acme.seen(await acme.ask("filter email~zoe")).startswith("No contacts match")


@pytest.mark.parametrize("since", ["Zoë", "Zora"])
async def test_the_same_request_adds_once(acme: Acme, since: str) -> None:
    """A repeated request is answered once, also if the repeats are simultaneous or the contact changed meanwhile."""
    await acme.ask("add zoe@example.com name:Zoë")
    sent, before = acme.sandbox.sent[-1], len(acme.answers)
    await acme.pushed({"type": "contact.upsert", "contact": {"email": "zoe@example.com", "name": since}})
    await acme.sandbox.again(sent)
    await asyncio.gather(*(acme.sandbox.again(sent, retry=number) for number in (2, 3)))
    await acme.restart()  # which finishes running work

    assert len(acme.answers) == before
    assert (await acme.contact("zoe@example.com")).name == since


@on_both
async def test_an_import_is_taken_back_in_slack(acme: Acme, tmp_path: Path) -> None:
    """The line that the import printed undoes the import; the answer has counts, and its button restores the import."""
    path = tmp_path / "contacts.csv"
    path.write_text("email,score,fit\nada@example.com,99,\nzoe@example.com,50,9\n")
    file = recognize(path)
    columns = await choose_columns(acme.workspace, file=file, mapping={})
    await import_file(
        acme.workspace, file=file, columns=columns, progress=lambda done: None,
        wrong=lambda row, reason: None, by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000),
    )  # fmt: skip  # in the process that serves
    assert await acme.value("ada") == 99_000

    refused = await acme.ask(f"undo {batch_of(file)}")
    assert acme.seen(refused).startswith("That is for admins")  # an import is nobody's own
    undone = await ask(acme, f"undo {batch_of(file)}")
    assert acme.seen(undone) == (
        "Ada Lovelace · Score 99 → 62 (warm) · undone\nzoe@example.com · Score 50 → — · Fit 9 → — · undone;"
        " the contact is no longer listed\n[Undo]"
    )
    assert await acme.value("ada") == 62_000
    assert acme.seen(await acme.ask("filter email~zoe")).startswith("No contacts match")
    assert acme.seen(await ask(acme, f"undo {batch_of(file)}")) == "Nothing was changed: that was undone already."
    assert acme.seen(await acme.ask(f"undo import/{'0' * 16}")) == "Nothing was changed: there is nothing to undo."

    assert acme.seen(await press(acme, undone, "Undo")) == (
        "Ada Lovelace · Score 62 → 99 (hot) · undone\n"
        "zoe@example.com · Score — → 50 (warm) · Fit — → 9 (good) · undone\n[Undo]"
    )
    assert await acme.value("ada") == 99_000
