"""Rules from a CSV file with attribute, value and points."""

from dataclasses import replace
from pathlib import Path

import pytest

from bot.cli.rules_csv import read_csv_rules
from storage.domain.errors import Refusal
from storage.domain.rules import compile_rules
from storage.domain.score_types import Rule, ScoreType
from tests.bot.cli.program import environment, run

SCORE = ScoreType(
    id=1, definition=1, number=1, key="score", label="Score", minimum=0, maximum=100_000, step=1000, start=0,
    is_default=True,
    rules=(
        Rule(name="Demo", activity="demo", points=10_000, condition="attributes.plan:pro"),
        Rule(name="VIP", points=20_000, condition="tag:vip attributes.plan:pro"),
        Rule(name="Both", points=1_000, condition="attributes.plan:pro attributes.city:Rome"),
        Rule(name="Not", points=1_000, condition="-attributes.plan:pro"),
        Rule(name="Each", points=1_000, for_each="attributes.minutes / 5"),
        Rule(name="Range", points=5_000, condition="attributes.minutes:1..2"),
        Rule(name="Old", points=5_000, condition="attributes.plan:old"),
    ),
)  # fmt: skip  # the numbers of one definition
FIT = replace(SCORE, id=2, key="fit", label="Fit", is_default=False, rules=SCORE.rules[-1:])
KNOWN = ("Lead Source", "minutes", "visits")
LONG = "x" * 100
MODEL = (
    "Attribute;Value;Points\n"
    'Lead Source;"Google ""Ads""";12\n'
    "attributes.minutes;>=10;8\n"
    "minutes;3..5;-4\n"
    "Minutes;*..2;-8\n"
    "Plan Type;Pro;6\n"
    "größe;L: 5, (6);+3\n"
    "city;Rome;0\n"
    f"city;{LONG}1;1\n"
    f"city;{LONG}2;2\n"
    "Demo;;\n"
)


def save(folder: Path, text: str) -> Path:
    """Write the file of rules."""
    path = folder / "model.CSV"
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_become_rules_about_attributes(tmp_path: Path) -> None:
    """Lines become rules of the default score type; rules that a line cannot express stay, other missing rules go."""
    rules = read_csv_rules(save(tmp_path, MODEL.replace("Demo;;\n", "")), [FIT, SCORE], attributes=KNOWN)

    assert rules["fit"] == FIT.rules
    assert rules["score"][:5] == SCORE.rules[:5]
    assert [(rule.name, rule.points // 1000, rule.activity, rule.cap) for rule in rules["score"][5:]] == [
        ('Lead Source Google "Ads"', 12, None, None),
        ("minutes >=10", 8, None, None),
        ("minutes 3..5", -4, None, None),
        ("minutes *..2", -8, None, None),
        ("plan_type Pro", 6, None, None),
        ("größe L: 5, (6)", 3, None, None),
        (f"city {'x' * 75}", 1, None, None),
        (f"city {'x' * 71} (2)", 2, None, None),
    ]
    assert (
        read_csv_rules(tmp_path / "model.CSV", [replace(SCORE, rules=rules["score"])], attributes=KNOWN)["score"]
        == rules["score"]
    )


@pytest.mark.parametrize(
    ("fields", "points"),
    [
        ({"attributes.Lead Source": "google “Ads”"}, 12),
        ({"attributes.Lead Source": "Google"}, 0),
        ({"attributes.minutes": "10"}, 8),
        ({"attributes.minutes": 3}, -4),
        ({"attributes.minutes": 5}, -4),
        ({"attributes.minutes": 5.5, "attributes.plan_type": "PRO"}, 6),
        ({"attributes.minutes": 2, "attributes.größe": "L: 5, (6)"}, -5),
        ({"attributes.city": LONG + "2", "attributes.minutes": "many"}, 2),
    ],
)
def test_a_line_holds_for_its_value(tmp_path: Path, fields: dict[str, str | int | float], points: int) -> None:
    """A line matches a text in any case, a comparison, or a range with both ends."""
    rules = read_csv_rules(save(tmp_path, MODEL.replace("Demo;;\n", "")), [SCORE], attributes=KNOWN)["score"]

    assert compile_rules(rules[5:]).compute_base(fields)[0] == points * 1000


def test_a_column_names_the_score_type(tmp_path: Path) -> None:
    """If the file has a column `score`, only the score types in the file change."""
    rules = read_csv_rules(
        save(tmp_path, "score,attribute,value,points\nfit,plan,pro,7\n"), [SCORE, FIT], attributes=KNOWN
    )

    assert rules["score"] == SCORE.rules
    assert [(rule.name, rule.points) for rule in rules["fit"]] == [("plan pro", 7_000)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MODEL, "line 11 of model.CSV: `value` is blank"),
        ("attribute,value\nplan,pro\n", "the first line of model.CSV must name the columns attribute, value, points,"),
        ("attribute,value,points,cap\na,b,1,2\n", "the first line of model.CSV must name the columns attribute, value"),
        ("attribute,value,points\nplan,pro,many\n", "line 2 of model.CSV: `many` is not a number"),
        (
            "attribute,value,points\nplan,pro,0.5\n",
            "line 2 of model.CSV: rule `plan pro`: 0.5 points is not possible",
        ),
        ("attribute,value,points\nplan,pro,1\nplan,PRO,2\n", "line 3 of model.CSV: it has the attribute and the value"),
        ("attribute,value,points,score\nplan,pro,1,nope\n", "line 2 of model.CSV: there is no score type `nope`"),
        ("attribute,value,points\nplan,pro,1,2\n", "line 2 of model.CSV: it has 4 cells, the header 3"),
        (
            "attribute,value,points\n" + "".join(f"plan,v{number},1\n" for number in range(196)),
            "model.CSV: a score type has at most 200 rules; these are 201",
        ),
    ],
)
def test_a_file_without_rules_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """An invalid file is refused with the line number, and nothing is changed."""
    with pytest.raises(Refusal) as error:
        read_csv_rules(save(tmp_path, text), [SCORE, FIT], attributes=KNOWN)

    assert str(error.value).startswith(reason)


@pytest.mark.slow
async def test_a_file_is_previewed_and_applied(tmp_path: Path) -> None:
    """A CSV file is previewed and applied as a TOML file is; attributes are named as by `import --all-columns`."""
    env = environment(f"sqlite://{tmp_path}/scores.db")
    leads, model = tmp_path / "leads.csv", tmp_path / "model.csv"
    leads.write_text("email,Lead Source,Visits\nada@example.com,Google,9\nbob@example.com,Bing,3\n")
    model.write_text("attribute,value,points\nLead Source,google,10\nVisits,>=5,80\n")
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    assert (await run("import", str(leads), "--all-columns", env=env)).code == 0

    looked = (await run("rules", "apply", str(model), "--dry-run", "--json", env=env)).document
    preview = {"type": "score", "changed": 1, "entering": 1, "leaving": 0, "asking": 0}
    assert looked == {"types": [preview], "applied": False}
    assert (await run("rules", "export", env=env)).out == ""
    assert (await run("rules", "apply", str(model), env=env)).out.splitlines() == [
        "Score: 1 contact changed; 1 into hot, 0 out of it.",
        "  ada@example.com: — → 90",
    ]
    again = await run("rules", "apply", str(model), env=env)
    assert again.out == "Nothing to do: these are the rules already.\n"
