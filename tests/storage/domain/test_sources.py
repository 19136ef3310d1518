"""How sources are named."""

from dataclasses import replace
from typing import Any

import pytest

from storage.domain.errors import BadName
from storage.domain.people import Workspace
from storage.domain.sources import SetupStep, Source, SourceSettings, check_slug

SLUGS = ["a", "hubspot-eu", "crm2", "a" * 40]
BAD_SLUGS = ["", "Crm", "2crm", "-crm", "crm_2", "crm:eu", "c r m", "a" * 41, "crm\n", "çrm"]
TAKEN_SLUGS = ["slack", "api", "import", "demo", "owner", "tag", "email", "updated", "fit"]


@pytest.mark.parametrize("slug", SLUGS)
def test_names_a_source_may_have(slug: str) -> None:
    """The slug of a source is a lowercase letter, then lowercase letters, digits and -, 40 characters at most."""
    check_slug(slug, score_types=("fit",))


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_names_a_source_may_not_have(slug: str) -> None:
    """Any other slug is refused with the rule for slugs."""
    with pytest.raises(BadName) as error:
        check_slug(slug)

    assert str(error.value) == (
        f"`{slug}` cannot name a source: use up to 40 lowercase letters, digits and -, a letter first"
    )


@pytest.mark.parametrize("slug", TAKEN_SLUGS)
def test_names_with_a_meaning_of_their_own(slug: str) -> None:
    """A slug is not a word of the filter language, a score type's key or a built-in source name."""
    with pytest.raises(BadName) as error:
        check_slug(slug, score_types=("fit",))

    assert str(error.value) == f"`{slug}` is reserved; choose another name, for example `{slug}-crm`"


@pytest.mark.parametrize(
    ("settings", "source", "is_done"),
    [
        ({}, {}, False),
        ({"secret": "S"}, {}, False),
        ({"secret": "S"}, {"secrets": ("s",)}, True),
        ({"api-token": "T"}, {"reads": True}, True),
        ({"map": "a=score"}, {"settings": SourceSettings(map={"b": "fit"})}, True),
        ({"token": "T", "token-in": "query:token"}, {"secrets": ("s",)}, False),
        (
            {"token": "T", "token-in": "query:token"},
            {"secrets": ("s",), "settings": SourceSettings(token_in="query:token")},
            True,
        ),
        ({"option": "batch=on"}, {"settings": SourceSettings(options={"off_step": "round"})}, False),
        ({"option": "batch=on"}, {"settings": SourceSettings(options={"batch": "off"})}, True),
        ({"public-url": "URL"}, {"settings": SourceSettings(public_url="https://x.example")}, True),
    ],
)
def test_a_step_is_done_when_its_settings_are_made(
    settings: dict[str, str], source: dict[str, Any], is_done: bool
) -> None:
    """A step without settings is never done; one with several is done when all are made."""
    workspace = Workspace(id=1, team="T1", name="Acme")
    bare = Source(id=1, workspace=workspace, slug="crm", provider="hubspot", secrets=())
    made = replace(bare, **source)

    assert SetupStep("Do it", settings).is_done(made) is is_done
