"""The sample CRM: two hundred contacts, and the deliveries that it would have sent in the last ninety days."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

PEOPLE = 200
DAYS = 90
BATCH = 500
SEED = 1843  # the same contacts at every start

_FIRST = (
    *("Grace", "Alan", "Katherine", "Edsger", "Barbara", "Donald", "Radia", "Linus"),
    *("Margaret", "Dennis", "Frances", "Ken", "Hedy", "Tim", "Annie", "Niklaus"),
    *("Mary", "Guido", "Jean", "Bjarne", "Sophie", "Anders", "Adele", "Brian"),
    *("Lynn", "Larry", "Karen", "Yukihiro", "Joan", "Rasmus"),
)
_LAST = (
    *("Hopper", "Turing", "Johnson", "Dijkstra", "Liskov", "Knuth", "Perlman", "Holm"),
    *("Hamilton", "Ritchie", "Allen", "Thompson", "Lamarr", "Berners", "Easley", "Wirth"),
    *("Somerville", "Rossum", "Sammet", "Strand", "Wilson", "Hejl", "Goldberg", "Kern"),
    *("Conway", "Wall", "Jones", "Matsu", "Clarke", "Lerdal"),
)
_COMPANIES = (
    *("Northwind", "Acorn", "Brightside", "Cobalt", "Driftwood", "Elmwood", "Fernhill", "Granite"),
    *("Harbor", "Ironbridge", "Juniper", "Kestrel", "Larkspur", "Meridian", "Nimbus", "Oakline"),
    *("Pinecrest", "Quarry", "Redwood", "Sundial"),
)
_OWNERS = ("rep@acme.example", "jane@acme.example", "admin@acme.example")
_TAGS = ("trial", "customer", "partner", "vip", "churn risk")
_PLANS = ("free", "team", "pro")
#: the first contact (its id in the CRM may be needed), one with two words as its company, and one known twice
_ADA: dict[str, object] = {
    "email": "ada@example.com",
    "id": "17",
    "name": "Ada Lovelace",
    "company": "Analytical Engines",
    "owner": _OWNERS[0],
    "tags": ["vip"],
}
_PETE: dict[str, object] = {
    "email": "pete@topgun.example",
    "name": "Pete Mitchell",
    "company": "Top Gun",
    "owner": _OWNERS[0],
}
_ADA_AGAIN: dict[str, object] = {"email": "ada.l@example.com", "name": "A. Lovelace", "company": "Analytical Engines"}
_VISITS = (
    "Read the pricing page",
    "Opened the newsletter",
    "Came to the webinar",
    "Asked for a demo",
    "Used the trial",
)


def bodies(now: float) -> Iterator[str]:
    """Yield the bodies of the deliveries, oldest events first; *now* is in seconds since the epoch."""
    items = sorted(_generate_items(datetime.fromtimestamp(now, UTC)), key=lambda item: str(item["occurred_at"]))
    for start in range(0, len(items), BATCH):
        yield json.dumps({"items": items[start : start + BATCH]}, ensure_ascii=False)


def _generate_items(now: datetime) -> Iterator[dict[str, object]]:
    rng = random.Random(SEED)  # noqa: S311  # sample people, not secrets
    generated = [_generate_contact(number, rng) for number in range(1, PEOPLE)]
    for number, contact in enumerate((_ADA, *generated, _PETE, _ADA_AGAIN)):
        person = {"email": contact["email"]}
        attributes = {
            "plan": _PLANS[number * 5 % 3],
            "employees": 10 + number * 37 % 490,
            "last_seen": _write_time(now - timedelta(hours=1 + number * 11)),
        }
        events: list[dict[str, object]] = [{"type": "contact.upsert", "contact": {**contact, "attributes": attributes}}]
        events += [_generate_score(person, rng) for _ in range(rng.randint(2, 9))]
        days = sorted((rng.uniform(0.05, DAYS) for _ in events), reverse=True)
        for index, (item, days_ago) in enumerate(zip(events, days, strict=True)):
            at = _write_time(now - timedelta(days=days_ago))
            yield {"id": f"crm-{number}-{index}", "occurred_at": at, **item}


def _write_time(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _generate_contact(number: int, rng: random.Random) -> dict[str, object]:
    first, last = _FIRST[number % len(_FIRST)], _LAST[(number * 7 + number // len(_FIRST)) % len(_LAST)]
    company = rng.choice(_COMPANIES)
    return {
        "email": f"{first}.{last}.{number}@{company}.example".lower(),
        "name": f"{first} {last}",
        "company": company,
        "owner": rng.choice(_OWNERS),
        "tags": rng.sample(_TAGS, k=rng.randint(0, 2)),
    }


def _generate_score(person: dict[str, object], rng: random.Random) -> dict[str, object]:
    kind = rng.choices(("visit", "score", "fit", "satisfaction"), weights=(5, 2, 2, 1))[0]
    match kind:
        case "visit":
            added = {"type": "score.add", "score": "score", "value": rng.randint(1, 6)}
            return {**added, "contact": person, "reason": rng.choice(_VISITS)}
        case "score":
            return {"type": "score.set", "score": "score", "value": rng.randint(5, 80), "contact": person}
        case "fit":
            return {"type": "score.set", "score": "fit", "value": rng.randint(1, 10), "contact": person}
        case _:
            return {"type": "score.set", "score": kind, "value": rng.randint(2, 10) / 2, "contact": person}
