"""Searches return what reading every contact would return, whatever happened to the contacts before."""

from collections.abc import Iterable, Sequence
from random import Random

from storage.domain.contacts import Contact, Reference
from storage.domain.facts import Deletion, Merge
from storage.domain.filters import parse
from storage.domain.texts import match_key
from storage.domain.words import contact_runs, count_shared_beginning, count_typos, most_typos, split_query, split_runs
from storage.ledger.verify import verify_next
from storage.reading.search import find, find_similar
from storage.scoring.definitions import score_types
from storage.transfer.export import export
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, field_item, set_to

PARTS = ("an", "el", "mar", "to", "li", "sen", "ova", "ß", "zo\u00eb", "o'", "x")
SEPARATORS = (" ", ".", "-", "_", "", "1", "17")


def make_word(random: Random) -> str:
    """Return a word like those of names and addresses."""
    return "".join(random.choice(PARTS) for _ in range(random.randint(1, 3)))


def make_text(random: Random) -> str:
    """Return a few words, with blanks and other separators between them."""
    return random.choice(SEPARATORS).join(make_word(random) for _ in range(random.randint(1, 3)))


def mistype(random: Random, text: str) -> str:
    """Return a text with one or two letters inserted, deleted or replaced."""
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(text) + 1)
        text = text[:place] + random.choice(["", "e", "k"]) + text[place + random.randint(0, 1) :]
    return text


def list_words(contact: Contact) -> list[str]:
    """Return the words of a contact's name, company and address."""
    texts = [match_key(text) for text in (contact.name, contact.company, contact.email) if text]
    return " ".join(texts).replace("@", " ").split()


def search_naively(people: Iterable[Contact], text: str) -> list[int]:
    """Return the ids of the contacts that a text finds, by reading all of them."""
    key, listed = match_key(text), sorted(people, key=lambda one: (not one.name, match_key(one.name or ""), one.id))
    words = key.replace("@", " ").split()
    if not any(character not in "._+-" for word in words for character in word):
        return []
    if same := [contact.id for contact in listed if contact.name and match_key(contact.name) == key]:
        return same[:21]
    short = any(len(runs) > 1 and max(map(len, runs)) < 3 for runs in map(split_runs, words))
    for matches in (str.__eq__, str.startswith, *(() if short else (str.__contains__,))):
        found = [
            contact.id
            for contact in listed
            if all(any(matches(own, word) for own in list_words(contact)) for word in words)
        ]
        if found:
            return found[:21]
    return []


def rank_naively(people: Iterable[Contact], text: str) -> list[int]:
    """Return the ids of the three contacts most similar to a text without an address, by reading all of them."""
    ranks = []
    for contact in people:
        keys = {name: match_key(value) if (value := getattr(contact, name)) else None for name in ("name", "company")}
        runs = contact_runs(email=match_key(contact.email) if contact.email else None, **keys)
        near: list[tuple[int, int] | None] = []
        for run in split_query(match_key(text)):
            typos = [(count_typos(run, own, most=most_typos(run)), -count_shared_beginning(run, own)) for own in runs]
            close = [(number, shared) for number, shared in typos if number is not None]
            if not close and not any(run in word for word in list_words(contact)):
                break
            near.append(min(close, default=None))
        else:
            if any(near):
                typos_and_shared = [sum(pair[place] for pair in near if pair) for place in (0, 1)]
                ranks.append((typos_and_shared[0], near.count(None), typos_and_shared[1], contact.id))
    return [id for *_, id in sorted(ranks)][:3]


async def load_all(team: Team) -> list[Contact]:
    """Return all contacts of a team."""
    query = parse("", await score_types(team.workspace))
    return [card.contact async for card in export(team.workspace, query=query, text="", by="U0ADMIN", now=NOW)]


async def change_contacts(team: Team, random: Random, emails: Sequence[str]) -> None:
    """Rename, merge, split, delete and undo."""
    names = [field_item(f"r{email}", email, name=make_text(random), company=None) for email in emails[:30]]
    await team.ask(*names, batch="renamed", received=NOW + SECOND)
    pairs = list(zip(emails[20:32:2], emails[21:32:2], strict=True))
    for number, (left, right) in enumerate(pairs):
        merge = Merge(key=f"m{number}", contact=Reference(email=left), into=Reference(email=right))
        await team.ask(merge, batch=f"m{number}", received=NOW + 2 * SECOND)
    for number in range(0, len(pairs), 2):
        await team.undo(f"m{number}", batch=f"u{number}", received=NOW + 3 * SECOND)
    deletions = [Deletion(key=f"d{email}", contact=Reference(email=email)) for email in emails[28:34]]
    for number, deletion in enumerate(deletions):
        await team.ask(deletion, batch=f"d{number}", received=NOW + 4 * SECOND)
    await team.undo("renamed", batch="renamed back", received=NOW + 5 * SECOND)


async def test_searches_find_what_reading_all_contacts_finds(team: Team, database_url: str) -> None:
    """Of two hundred contacts, each text finds the same as a naive search, and a mistyped one suggests the same."""
    random = Random(11)
    emails = [
        f"{make_text(random).replace(' ', '.').strip('.')}{number}@{make_word(random)}.com" for number in range(200)
    ]
    emails = [email.replace("..", ".").replace("'", "").lower() for email in emails]
    fields = [{"name": make_text(random), "company": random.choice([None, make_text(random)])} for _ in emails]
    people = [set_to(f"k{n}", email, 5, fields=fields[n]) for n, email in enumerate(emails)]
    await team.deliver(*people)
    await change_contacts(team, random, emails)

    stored = await load_all(team)
    found = suggested = 0
    for number in range(90):
        text = make_text(random) if number % 3 else (random.choice(stored).name or "an")[:5]
        ids = [contact.id for contact in await find(team.workspace, text=text)]
        assert ids == search_naively(stored, text), text
        found += bool(ids)
    for _ in range(40):
        text = mistype(random, random.choice(stored).name or "marsen")
        ids = [contact.id for contact in await find_similar(team.workspace, text=text)]
        assert ids == rank_naively(stored, text), text
        suggested += bool(ids)
    assert min(found - 40, suggested - 20) > 0, (found, suggested)
    assert (await verify_next(team.workspace)).differences == ()
    unused = "SELECT word FROM words w WHERE NOT EXISTS (SELECT 1 FROM contact_words p WHERE p.word_id = w.id)"
    assert await raw.rows(database_url, unused) == []
