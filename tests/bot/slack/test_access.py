"""Decide who may see scores where: the whole table."""

import itertools

import pytest

from bot.slack.access import Conversation, Person, Verdict, is_from_outside, may_see

MEMBER = Person(id="U1", is_guest=False, is_outsider=False, is_active=True)
HERE, SHARED = Conversation(id="C1", is_shared=False), Conversation(id="C1", is_shared=True)


def person(*, guest: bool, outsider: bool, active: bool) -> Person:
    """Make somebody."""
    return Person(id="U1", is_guest=guest, is_outsider=outsider, is_active=active)


@pytest.mark.parametrize(
    ("person", "place", "somewhere", "verdict"),
    [
        (MEMBER, HERE, True, Verdict.ALLOWED),
        (MEMBER, None, False, Verdict.ALLOWED),  # the App Home, or a modal
        (MEMBER, SHARED, True, Verdict.SHARED),
        (MEMBER, None, True, Verdict.UNSEEN),  # Slack does not say what this conversation is
        (None, HERE, True, Verdict.UNKNOWN),
        (None, None, False, Verdict.UNKNOWN),
        (None, SHARED, True, Verdict.UNKNOWN),
        (person(guest=True, outsider=False, active=True), HERE, True, Verdict.GUEST),
        (person(guest=True, outsider=False, active=True), None, False, Verdict.GUEST),
        (person(guest=False, outsider=True, active=True), HERE, True, Verdict.OUTSIDER),
        (person(guest=True, outsider=True, active=False), SHARED, True, Verdict.OUTSIDER),
        (person(guest=False, outsider=False, active=False), HERE, True, Verdict.INACTIVE),
    ],
)
def test_the_verdict(person: Person | None, place: Conversation | None, somewhere: bool, verdict: Verdict) -> None:
    """Each reason has its own sentence; what a person is comes before where they are."""
    assert may_see(person, place, somewhere=somewhere) is verdict


def test_only_an_active_member_in_a_place_of_our_own_is_served() -> None:
    """Of every combination there is, two are allowed: here, and nowhere in particular."""
    people = [None, *(person(guest=g, outsider=o, active=a) for g, o, a in itertools.product((True, False), repeat=3))]
    allowed = [
        (person, place, somewhere)
        for person, place, somewhere in itertools.product(people, (None, HERE, SHARED), (True, False))
        if may_see(person, place, somewhere=somewhere) is Verdict.ALLOWED
    ]

    assert [(person, place) for person, place, somewhere in allowed if somewhere] == [(MEMBER, HERE)]
    assert {person for person, _, _ in allowed} == {MEMBER}


def test_no_sentence_holds_a_number() -> None:
    """What is said to those who may not see is the same for every contact."""
    sentences = [verdict.value for verdict in Verdict if verdict is not Verdict.ALLOWED]

    assert all(sentence and not any(letter.isdigit() for letter in sentence) for sentence in sentences)
    assert len(set(sentences)) == len(Verdict) - 1


@pytest.mark.parametrize(
    ("teams", "organisations", "own_organisation", "is_outside"),
    [
        (("T0OURS", None), (None,), None, False),
        (("T0OTHER",), (None,), None, True),
        (("T0OURS", "T0OTHER"), (None,), None, True),  # the person of one, the conversation of another
        (("T0SISTER",), ("E0OURS",), "E0OURS", False),  # a colleague at home in another workspace
        (("T0OTHER",), ("E0OTHER",), "E0OURS", True),
        (("T0OURS",), (None,), "E0OURS", False),
        ((), (), None, False),  # an event says nothing of it
    ],
)
def test_what_a_request_says_itself(
    teams: tuple[str | None, ...], organisations: tuple[str | None, ...], own_organisation: str | None, is_outside: bool
) -> None:
    """Of a click by an outsider only the request itself tells where they belong."""
    assert is_from_outside(teams, organisations, "T0OURS", own_organisation) is is_outside
