"""Store the words by which contacts are searched, and delete the words of no contact.

The words of a contact row are those of its own columns, whether it is merged or gone. They change in the transaction
that changes the columns, after everything else in it, so that concurrent transactions cannot deadlock.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from storage.db import database, models
from storage.db.database import Row, Session
from storage.db.errors import StartAgain
from storage.domain.people import Workspace
from storage.domain.words import contact_runs, list_trigrams

WORDS = "words"  #: kind of the job that runs `fill_words`
SLICE = 200  #: contacts in one transaction of `fill_words`
MOST_TRIES = 5

#: (workspace id, word)
_Word: TypeAlias = tuple[int, str]


async def save_words(session: Session, rows: Collection[int]) -> None:
    """Save the words of contact rows. The caller holds the locks.

    Raises StartAgain if other transactions keep deleting one of the words.
    """
    if not rows:
        return
    wanted, stored = await _load_texts(session, rows)
    added = {contact: words - stored.get(contact, {}).keys() for contact, words in wanted.items()}
    removed = {
        contact: {word: id for word, id in words.items() if word not in wanted[contact]}
        for contact, words in stored.items()
    }
    old_words = {word for words in removed.values() for word in words}
    id_of = await _lock_words(session, set().union(*added.values()), old_words)
    postings = sorted((contact, id_of[word], word[0]) for contact, words in added.items() for word in words)
    if postings:
        await session.insert("contact_words", ("contact_id", "word_id", "workspace_id"), postings)
    if old_words:
        await _delete_postings(session, removed)


async def _load_texts(
    session: Session, rows: Iterable[int]
) -> tuple[dict[int, set[_Word]], dict[int, dict[_Word, int]]]:
    """Return the words that contact rows should have, and those that they have: row → word → id of the word."""
    records = await session.rows(
        "SELECT c.id, c.workspace_id, c.name_key, c.company_key, c.email_key, w.id AS word_id, w.word"
        " FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " LEFT JOIN contact_words p ON p.contact_id = c.id LEFT JOIN words w ON w.id = p.word_id",
        [{"id": row} for row in sorted(rows)],
    )
    wanted: dict[int, set[_Word]] = {}
    stored: dict[int, dict[_Word, int]] = {}
    for record in records:
        id, workspace = record["id"], record["workspace_id"]
        if id not in wanted:
            wanted[id] = {(workspace, run) for run in _list_runs(record)}
        if record["word_id"] is not None:
            stored.setdefault(id, {})[workspace, record["word"]] = record["word_id"]
    return wanted, stored


def _list_runs(record: Row) -> set[str]:
    return contact_runs(name=record["name_key"], company=record["company_key"], email=record["email_key"])


async def _lock_words(session: Session, added: Collection[_Word], removed: Collection[_Word]) -> Mapping[_Word, int]:
    """Lock words, insert those that are new, and return their ids.

    A shared lock keeps another transaction from deleting a word that gets a contact here. A word that loses a contact
    is locked exclusively, because it is deleted if that contact was the last.
    """
    strength = "NO KEY UPDATE" if removed else "SHARE"
    missing, id_of = {*added, *removed}, dict[_Word, int]()
    for _ in range(MOST_TRIES):
        if not missing:
            return id_of
        rows = [{"workspace": workspace, "word": word} for workspace, word in sorted(missing)]
        records = await session.rows(
            "SELECT w.id, w.workspace_id, w.word FROM given(workspace bigint, word text)"
            ' JOIN words w ON w.workspace_id = given.workspace AND w.word COLLATE "C" = given.word'
            f" ORDER BY w.id FOR {strength} OF w",
            rows,
        )
        id_of |= {(record["workspace_id"], record["word"]): record["id"] for record in records}
        missing -= id_of.keys()
        missing -= set(removed) - set(added)
        if missing:
            inserted = await _insert_words(session, missing)
            id_of |= inserted
            missing -= inserted.keys()
    if missing:
        raise StartAgain
    return id_of


async def _insert_words(session: Session, words: Iterable[_Word]) -> dict[_Word, int]:
    """Insert words with their trigrams, and return their ids. A word that another transaction inserted is left out."""
    records = await session.rows(
        "INSERT INTO words (workspace_id, word) SELECT workspace, word FROM given(workspace bigint, word text)"
        ' WHERE true ORDER BY workspace, word COLLATE "C" ON CONFLICT DO NOTHING RETURNING id, workspace_id, word',
        [{"workspace": workspace, "word": word} for workspace, word in sorted(words)],
    )
    trigrams = [
        (record["workspace_id"], trigram, record["id"])
        for record in records
        for trigram in sorted(list_trigrams(record["word"]))
    ]
    if trigrams:
        await session.insert("word_trigrams", ("workspace_id", "trigram", "word_id"), trigrams)
    return {(record["workspace_id"], record["word"]): record["id"] for record in records}


async def _delete_postings(session: Session, removed: Mapping[int, Mapping[_Word, int]]) -> None:
    """Delete words of contacts, and the words that no contact has any more. They are locked."""
    postings = [{"contact": contact, "word": id} for contact, words in removed.items() for id in words.values()]
    await session.rows(
        "DELETE FROM contact_words WHERE id IN (SELECT p.id FROM given(contact bigint, word bigint)"
        " JOIN contact_words p ON p.contact_id = given.contact AND p.word_id = given.word)",
        postings,
    )
    # A statement of its own, so that it sees the contacts that got a word before the lock.
    records = await session.rows(
        "DELETE FROM words WHERE id IN (SELECT id FROM given(id bigint))"
        " AND NOT EXISTS (SELECT 1 FROM contact_words p WHERE p.word_id = words.id) RETURNING id, workspace_id, word",
        [{"id": id} for id in sorted({posting["word"] for posting in postings})],
    )
    trigrams = [
        {"workspace": record["workspace_id"], "trigram": trigram, "word": record["id"]}
        for record in records
        for trigram in list_trigrams(record["word"])
    ]
    if trigrams:
        await session.rows(
            "DELETE FROM word_trigrams WHERE id IN"
            " (SELECT t.id FROM given(workspace bigint, trigram bigint, word bigint) JOIN word_trigrams t"
            " ON t.workspace_id = given.workspace AND t.trigram = given.trigram AND t.word_id = given.word)",
            trigrams,
        )


async def load_words(
    session: Session, workspace: Workspace, rows: Iterable[int]
) -> dict[int, tuple[list[str], list[str]]]:
    """Return the words that contact rows have, and those that they should have.

    Contacts that `fill_words` has yet to reach are left out.
    """
    (record,) = await session.load(models.Workspace.filter(id=workspace.id), "words_after")
    last = record["words_after"]
    wanted, stored = await _load_texts(session, [row for row in rows if last is None or row <= last])
    return {
        id: (sorted(word for _, word in stored.get(id, {})), sorted(word for _, word in words))
        for id, words in wanted.items()
    }


async def fill_words(workspace: Workspace) -> int | None:
    """Save the words of the next contacts that an earlier version recorded. Return the id of the last; None at the end.

    Until then, `words_after` of the workspace tells searches which contacts may lack words.
    """

    async def body(session: Session) -> int | None:
        rows = await session.rows(
            "SELECT c.id FROM workspaces s JOIN contacts c ON c.workspace_id = s.id AND c.id > s.words_after"
            f" WHERE s.id = $1 ORDER BY c.id LIMIT {SLICE} FOR NO KEY UPDATE OF c",
            workspace.id,
        )
        last = rows[-1]["id"] if len(rows) == SLICE else None
        # Before the words: a recording that holds words may wait for whoever has locked the workspace.
        await session.update(models.Workspace.filter(id=workspace.id), words_after=last)
        await save_words(session, [row["id"] for row in rows])
        return last

    return await database.write(body)
