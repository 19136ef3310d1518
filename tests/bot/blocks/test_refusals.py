"""The sentence that a person reads for every refusal."""

import pytest

from bot.blocks.refusals import (
    ambiguous_contact_reply,
    choose_contact_reply,
    no_contact_reply,
    refusal_reply,
    refusal_sentence,
)
from storage.domain import errors
from storage.domain.errors import Refusal
from tests.bot.blocks.test_blocks import contact


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            errors.StorageUnavailable(),
            "Nothing was changed: the database does not answer. Try again in a minute.",
        ),
        (
            errors.OutcomeUnknown(),
            "This may have been recorded: the database did not confirm it."
            " Check whether it was before you send it again.",
        ),
        (
            errors.OutcomeUnknown("ada@example.com"),
            "This may have been recorded: the database did not confirm it."
            " Check with `/score ada@example.com` before you send it again.",
        ),
        (
            errors.StorageUnavailable("The database has no room left"),
            "Nothing was changed. The database has no room left."
            " Ask whoever runs Contact Score to fix that, then try again.",
        ),
        (
            errors.Conflict("conflict"),
            "Nothing was changed: this request was recorded before with other content. Send it as a new one.",
        ),
        (errors.UnknownContact(), "That contact no longer exists. Search for it: `/score view ada@example.com`"),
        (errors.NothingToUndo(), "Nothing was changed: there is nothing to undo."),
        (errors.NothingToUndo("that was undone already"), "Nothing was changed: that was undone already."),
        (
            errors.UnknownScoreType("renewal", known=("score", "fit")),
            "There is no score type `renewal`. Choose from `score`, `fit`.",
        ),
        (
            errors.OutOfRange("Score runs from 0 to 100; 101 is outside it"),
            "Nothing was changed: Score runs from 0 to 100; 101 is outside it.",
        ),
        (
            errors.OffStep("Fit goes in steps of 1; use 7 or 8"),
            "Nothing was changed: Fit goes in steps of 1; use 7 or 8.",
        ),
        (
            errors.UnknownSegment("there is no segment `hto`"),
            "There is no segment `hto`. Saved segments: `/score segment list`",
        ),
        (
            errors.SegmentInUse("hot", segments=("best",), rules=(2, 3)),
            "The segment `hot` was not deleted: the segment `best`, alert rule 2 and alert rule 3 use it."
            " First type `/score alerts remove 2` and `/score segment save best …` without it",
        ),
        (
            errors.SegmentInUse("hot", segments=(), rules=(), subscriptions=(3,)),
            "The segment `hot` was not deleted: subscription 3 uses it."
            " First press Remove at subscription 3 in `/score subscriptions`",
        ),
        (
            errors.SegmentInUse("hot", segments=(), rules=tuple(range(2, 14))),
            "The segment `hot` was not deleted: alert rule 2, alert rule 3, alert rule 4, alert rule 5, alert rule 6,"
            " alert rule 7, alert rule 8, alert rule 9, alert rule 10, alert rule 11 and 2 more use it."
            " First type `/score alerts remove 2`",
        ),
        (errors.BadItem("that says too little"), "That says too little"),
        (Refusal(), "This cannot be done."),
    ],
)
def test_a_refusal_and_its_sentence(refusal: Refusal, message: str) -> None:
    """A refusal says what went wrong and what to do instead, in the message and in its notification."""
    reply = refusal_reply(refusal)

    assert refusal_sentence(refusal) == message
    assert (reply.text, reply.blocks[0]["text"]["text"]) == (message, message)


def test_every_refusal_has_a_sentence() -> None:
    """Every refusal has a sentence that begins with a capital letter."""
    family = [
        refusal for refusal in vars(errors).values() if isinstance(refusal, type) and issubclass(refusal, Refusal)
    ]
    examples: dict[type[Refusal], Refusal] = {
        errors.UnknownScoreType: errors.UnknownScoreType("renewal"),
        errors.ContactExists: errors.ContactExists(7),
        errors.SegmentInUse: errors.SegmentInUse("hot", segments=("best",), rules=()),
    }
    sentences = [refusal_sentence(examples.get(refusal) or refusal()) for refusal in family]

    assert len(family) > 12
    assert [sentence for sentence in sentences if not sentence or sentence[0].islower()] == []


@pytest.mark.parametrize(
    ("count", "buttons", "question"),
    [
        (2, 2, "2 contacts match “ada”. Which one?"),
        (20, 20, "20 contacts match “ada”. Which one?"),
        (21, 20, "More than 20 contacts match “ada”. Which one?"),
    ],
)
def test_how_many_are_offered(count: int, buttons: int, question: str) -> None:
    """Up to twenty matches have a row with a button each; for more, the reply says how to list all."""
    reply = ambiguous_contact_reply("ada", [contact()] * count, command="set {} score=85 because {}")
    offered = [block["accessory"] for block in reply.blocks if "accessory" in block]
    hints = [block["elements"][0]["text"] for block in reply.blocks if block["type"] == "context"]

    assert (reply.text, len(offered)) == (question, buttons)
    assert {element["value"] for element in offered} == {"set id:7 score=85 because {}"}
    assert hints == ['All of them: `/score filter "ada"`'] * (count > 20)


def test_nobody() -> None:
    """If no contact matches, the typed words are quoted without markup."""
    assert no_contact_reply("<!channel>", [], command="view {}").text == (
        "No contact is called “&lt;!channel&gt;”. Type more of the name, a company, or an address."
    )


def test_a_line_too_long_for_a_button_is_not_run_in_part() -> None:
    """A line too long for a button is not run in part, but the message still shows what was meant."""
    reply = choose_contact_reply("Did you mean this?", [("set", "set " + "x" * 2000)])

    assert [block["type"] for block in reply.blocks] == ["section"]
