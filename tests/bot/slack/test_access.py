"""Who may see scores where: the complete decision table."""

import itertools
from dataclasses import replace

import pytest

from bot.slack.access import Access, Conversation, Need, Person, Verdict, find_role, is_from_outside, may_see
from storage.domain.people import Choices, Role, Setters

MEMBER = Person(id="U1", is_guest=False, is_outsider=False, is_active=True)
HERE, SHARED = Conversation(id="C1", is_shared=False), Conversation(id="C1", is_shared=True)


def person(*, guest: bool, outsider: bool, active: bool) -> Person:
    """Return a person."""
    return Person(id="U1", is_guest=guest, is_outsider=outsider, is_active=active)


@pytest.mark.parametrize(
    ("person", "place", "somewhere", "verdict"),
    [
        (MEMBER, HERE, True, Verdict.ALLOWED),
        (MEMBER, None, False, Verdict.ALLOWED),  # the App Home, or a modal
        (MEMBER, SHARED, True, Verdict.SHARED),
        (MEMBER, None, True, Verdict.UNSEEN),  # Slack does not return what this conversation is
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
    """Each reason has its own sentence; the person is checked before the place."""
    assert may_see(person, place, somewhere=somewhere) is verdict


def test_only_an_active_member_in_a_place_of_our_own_is_served() -> None:
    """Only an active member is allowed: in an own channel, or where no channel is involved."""
    people = [None, *(person(guest=g, outsider=o, active=a) for g, o, a in itertools.product((True, False), repeat=3))]
    allowed = [
        (person, place, somewhere)
        for person, place, somewhere in itertools.product(people, (None, HERE, SHARED), (True, False))
        if may_see(person, place, somewhere=somewhere) is Verdict.ALLOWED
    ]

    assert [(person, place) for person, place, somewhere in allowed if somewhere] == [(MEMBER, HERE)]
    assert {person for person, _, _ in allowed} == {MEMBER}


def test_no_sentence_holds_a_number() -> None:
    """The sentence of a refusal contains no number, so it is the same for every contact."""
    sentences = [verdict.value for verdict in Verdict if verdict is not Verdict.ALLOWED]

    assert all(sentence and not any(letter.isdigit() for letter in sentence) for sentence in sentences)
    assert len(set(sentences)) == len(Verdict) - 1


@pytest.mark.parametrize(
    ("teams", "organizations", "own_organization", "is_outside"),
    [
        (("T0OURS", None), (None,), None, False),
        (("T0OTHER",), (None,), None, True),
        (("T0OURS", "T0OTHER"), (None,), None, True),  # the team of the person and the team of the conversation differ
        (("T0SISTER",), ("E0OURS",), "E0OURS", False),  # a colleague with another home workspace
        (("T0OTHER",), ("E0OTHER",), "E0OURS", True),
        (("T0OURS",), (None,), "E0OURS", False),
        ((), (), None, False),  # an event does not contain the person's team
    ],
)
def test_what_a_request_says_itself(
    teams: tuple[str | None, ...], organizations: tuple[str | None, ...], own_organization: str | None, is_outside: bool
) -> None:
    """For a click by an outsider, only the payload says which team the person belongs to."""
    assert is_from_outside(teams, organizations, "T0OURS", own_organization) is is_outside


#: three user groups and three people with a role, besides an admin by name
CHOICES = Choices(
    alert_channel=None,
    admins=("U0NAMED",),
    setters=Setters.MEMBERS,
    welcomed_at=None,
    set_up_at=None,
    roles={"S0VIEW": Role.VIEWER, "S0SET": Role.SCORER, "S0ADMIN": Role.ADMIN, "U0VIEW": Role.VIEWER},
)


@pytest.mark.parametrize(
    ("id", "groups", "role"),
    [
        ("U1", (), Role.SCORER),  # what members without a role may do
        ("U1", ("S0VIEW",), Role.VIEWER),  # a group's role counts before that, also if it is less
        ("U1", ("S0VIEW", "S0SET"), Role.SCORER),
        ("U1", ("S0ADMIN", "S0VIEW"), Role.ADMIN),
        ("U0VIEW", ("S0ADMIN",), Role.VIEWER),  # a person's own role counts before those of groups
        ("U0NAMED", ("S0VIEW",), Role.ADMIN),
    ],
)
def test_the_role(id: str, groups: tuple[str, ...], role: Role) -> None:
    """A person's own role counts, else the highest of the groups, else that of members without a role."""
    member = replace(MEMBER, id=id)

    assert find_role(member, CHOICES, groups) is role
    assert find_role(replace(member, is_admin=True), CHOICES, groups) is Role.ADMIN


def test_what_each_role_may_do() -> None:
    """Each role may do what the roles before it may, and one thing more; without a role nothing is allowed."""
    allowed = {role: Access(choices=CHOICES, role=role).rights for role in (None, *Role)}

    assert allowed == {
        None: set(), Role.VIEWER: {Need.SEE}, Role.SCORER: {Need.SEE, Need.SET},
        Role.ADMIN: {Need.SEE, Need.SET, Need.ADMINISTER},
    }  # fmt: skip  # from less to more
    assert find_role(MEMBER, replace(CHOICES, setters=Setters.NAMED), ()) is None
    assert find_role(MEMBER, replace(CHOICES, setters=Setters.ADMINS), ()) is Role.VIEWER
