"""A scoring model of fifty rules over the attributes of generated leads, from the files to the export."""

import csv
import json
import math
import random
from pathlib import Path

import pytest

from tests.bot.cli.program import environment, run
from tests.counts import report_counts

LEADS = 2_000
CATEGORIES = {
    "source": ("Google", "Direct Traffic", "Olark Chat", "Organic Search", "Reference", "Welingak"),
    "origin": ("API", "Landing Page", "Lead Add Form", "Import", "Quick Add"),
    "occupation": ("Unemployed", "Working Professional", "Student", "Housewife", "Businessman"),
    "city": ("Mumbai", "Thane", "Other Cities", "Tier II", "Metro"),
    "specialization": ("Finance", "Marketing", "HR", "Operations", "IT", "Banking", "Retail"),
    "last_activity": ("Email Opened", "SMS Sent", "Olark Chat", "Page Visited", "Converted", "Bounced"),
    "do_not_email": ("Yes", "No"),
}
#: attribute → (value cell of a rule, lowest, highest)
BANDS = {
    "minutes": (("*..4", 0, 4), ("5..14", 5, 14), ("15..29", 15, 29), (">=30", 30, math.inf)),
    "visits": (("0", 0, 0), ("1..2", 1, 2), ("3..6", 3, 6), (">=7", 7, math.inf)),
    "pages": (("*..1", 0, 1), ("2..3", 2, 3), ("4..8", 4, 8), (">=9", 9, math.inf)),
    "employees": (("*..9", 0, 9), ("10..99", 10, 99), (">=100", 100, math.inf)),
}


def make_rules(dice: random.Random) -> dict[tuple[str, str], int]:
    """Return fifty rules with points other than 0: (attribute, value) → points."""
    lines = [(name, value) for name, values in CATEGORIES.items() for value in values]
    lines += [(name, words) for name, bands in BANDS.items() for words, _, _ in bands]
    return {line: dice.choice([*range(-15, 0), *range(1, 26)]) for line in dice.sample(lines, 50)}


def make_lead(dice: random.Random) -> dict[str, str]:
    """Return the attributes of a lead; some are blank, as in any CRM export."""
    lead = {name: dice.choice((*values, "")) for name, values in CATEGORIES.items()}
    numbers = {"minutes": 60, "visits": 12, "pages": 14, "employees": 400}
    return lead | {
        name: dice.choice(("", *(str(dice.randrange(most)) for _ in range(5)))) for name, most in numbers.items()
    }


def expected_score(lead: dict[str, str], rules: dict[tuple[str, str], int]) -> int | None:
    """Return the score of a lead, computed in plain Python; None if no rule matches."""
    points = []
    for (name, value), worth in rules.items():
        text = lead[name]
        band = next((band for band in BANDS.get(name, ()) if band[0] == value), None)
        if text and (text == value if band is None else band[1] <= int(text) <= band[2]):
            points.append(worth)
    return min(max(sum(points), 0), 100) if points else None


def area_under_curve(scored: list[tuple[int, bool]]) -> float:
    """Return how often a lead that bought scores higher than one that did not; ties count half."""
    bought, other = ([value for value, is_bought in scored if is_bought is which] for which in (True, False))
    wins = sum((left > right) + (left == right) / 2 for left in bought for right in other)
    return wins / (len(bought) * len(other))


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    """Write a file with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_model_of_fifty_rules_scores_as_plain_python_does(database_url: str, tmp_path: Path) -> None:
    """Every score is as computed in Python after the import, in a filter and in the export; buyers score higher."""
    dice = random.Random(7)
    rules, leads = make_rules(dice), {f"lead{n:04d}@example.com": make_lead(dice) for n in range(LEADS)}
    names = [*CATEGORIES, *BANDS]
    rows: list[list[object]] = [[email, *(lead[name] for name in names)] for email, lead in leads.items()]
    contacts = write_csv(tmp_path / "leads.csv", ["email", *names], rows)
    lines: list[list[object]] = [[name, value, points] for (name, value), points in rules.items()]
    model = write_csv(tmp_path / "model.csv", ["attribute", "value", "points"], lines)
    values = environment(database_url)

    added = await run("workspace", "add", "T0ACME", "--name", "Acme", env=values)
    imported = await run("import", str(contacts), "--all-columns", "--yes", "--json", env=values)
    applied = await run("rules", "apply", str(model), "--json", env=values)
    exported = await run("export", "--json", env=values)
    hot = await run("export", "--json", "--filter", "score>=40 attributes.occupation:student", env=values)

    assert [ended.code for ended in (added, imported, applied, exported, hot)] == [0] * 5, (imported, applied)
    expected = {email: expected_score(lead, rules) for email, lead in leads.items()}
    read = {item["email"]: item for item in json.loads(exported.out)["contacts"]}
    scores = {email: item["scores"].get("score", {}).get("value") for email, item in read.items()}
    assert scores == expected
    filtered = {item["email"] for item in json.loads(hot.out)["contacts"]}
    assert filtered == {
        email
        for email, value in expected.items()
        if value is not None and value >= 40 and leads[email]["occupation"] == "Student"
    }
    known = {email: value for email, value in expected.items() if value is not None}
    scored = [(value, dice.random() < 1 / (1 + math.exp(-(value - 45) / 12))) for value in known.values()]
    area = area_under_curve(scored)
    report_counts(
        "a model of fifty rules",
        {
            "leads": LEADS,
            "without a score": LEADS - len(known),
            "hot students": len(filtered),
            "AUC in %": round(100 * area),
        },
    )
    assert len(known) > LEADS // 2
    assert filtered
    assert area > 0.6
