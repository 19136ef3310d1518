"""Secrets and addresses are shown so that they can be copied."""

import json
import re
from typing import Any

import pytest

from bot.blocks.sources import MOST_TYPED, edit_modal, quarantine_reply, source_added_reply
from bot.source_admin import Senders
from storage.domain.people import Workspace
from storage.domain.sources import Source, SourceSettings
from storage.sources.deliveries import QuarantinedItem
from webhooks.providers import PROVIDERS
from webhooks.source_settings import used_options


async def never(*_: Any, **__: Any) -> Any:
    """Stand for what is not called by drawing."""
    raise AssertionError


SIGNED_WITH = {name: provider.signed_with for name, provider in PROVIDERS.items() if provider.signed_with}
SENDERS = Senders(
    steps={name: provider.steps for name, provider in PROVIDERS.items()}, signed_with=SIGNED_WITH,
    takes={name: used_options(name) for name in PROVIDERS},
    id_only=(), address="https://acme.example/_/",
    configure=never, next_secret=never, attempt=never, replay=never,  # type: ignore[arg-type]  # none is called
    new_signing_secret=never, find_address_problem=never,  # type: ignore[arg-type]  # none is called
)  # fmt: skip  # what is drawn, then what is done


@pytest.mark.parametrize("provider", ["generic", "mautic", "activecampaign"])
@pytest.mark.parametrize("secret", ["whsec_+4Jv5yfWe", "_a*b~c_", "a<b&c>"])
def test_a_secret_in_the_steps_can_be_copied(provider: str, secret: str) -> None:
    """The steps at the sender show the secret and the address letter by letter, whatever marks they have."""
    workspace = Workspace(id=1, team="T0ACME", name="Acme")
    source = Source(id=1, workspace=workspace, slug="shop", provider=provider, secrets=(secret,))
    blocks = source_added_reply(source, SENDERS).blocks
    shown = "\n".join(block["text"]["text"] for block in blocks if block["type"] == "section")
    escaped = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    assert shown.count(escaped) == 2
    assert shown.count("https://acme.example/_/webhooks/T0ACME/shop") == 2


def make_source(provider: str, **settings: Any) -> Source:
    """Return a source without a secret."""
    workspace = Workspace(id=1, team="T0ACME", name="Acme")
    return Source(
        id=1, workspace=workspace, slug="shop", provider=provider, secrets=(), settings=SourceSettings(**settings)
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_steps_in_slack_need_no_terminal(provider: str) -> None:
    """Each setting that a step names is a field of the form; only the recipe of a signature is set in a terminal."""
    source = make_source(provider)
    labels = {block["label"]["text"] for block in edit_modal(source, SENDERS)["blocks"]}
    blocks = source_added_reply(source, SENDERS).blocks
    text = "\n".join(block["text"]["text"] for block in blocks if block["type"] == "section")
    buttons = [element["text"]["text"] for element in blocks[-1]["elements"]]

    named = set(re.findall("under “(.+?)”", text))
    assert named <= labels
    assert named or provider == "generic"
    assert text.replace("contact-score source set shop --recipe NAME", "").count("contact-score") == 0
    assert "--" not in text.replace("--recipe NAME", "")
    assert buttons == [*(["Enter its secret"] if provider in SIGNED_WITH else []), "Edit", "Test"]


def test_a_setting_that_a_form_cannot_hold_is_left_alone() -> None:
    """A text that is longer than a field is not in the form, so that saving the form does not cut it."""
    pairs = {f"property_{number:04d}": "score" for number in range(200)}
    blocks = edit_modal(make_source("zapier", map=pairs, link="https://z.example/{id}"), SENDERS)["blocks"]
    fields = {block["block_id"]: block["element"] for block in blocks}

    assert len("\n".join(f"{name}=score" for name in pairs)) > MOST_TYPED
    assert "map" not in fields
    assert fields["link"]["initial_value"] == "https://z.example/{id}"


@pytest.mark.parametrize(("item", "count"), [("x" * 100, 10), ("\u20ac" * 200, 0)])
def test_a_quarantine_fits_into_a_message(item: str, count: int) -> None:
    """Each item has a button, as long as the message has room for the buttons."""
    items = [QuarantinedItem(delivery=1, position=n, received_at=0, reason=item * 3, item=item * 2) for n in range(10)]
    reply = quarantine_reply("shop", items, 12)

    assert len([block for block in reply.blocks if "accessory" in block]) == count
    assert len(json.dumps(reply.blocks)) < 13_200
    assert reply.text == "12 items in quarantine"
