"""Secrets and addresses are shown so that they can be copied."""

from typing import Any

import pytest

from bot.blocks.sources import source_added_reply
from bot.source_admin import Senders
from storage.domain.people import Workspace
from storage.domain.sources import Source
from webhooks.providers import PROVIDERS


async def never(*_: Any, **__: Any) -> Any:
    """Stand for what is not called by drawing."""
    raise AssertionError


SIGNED_WITH = {name: provider.signed_with for name, provider in PROVIDERS.items() if provider.signed_with}
SENDERS = Senders(
    steps={name: provider.steps for name, provider in PROVIDERS.items()}, takes={}, signed_with=SIGNED_WITH,
    id_only=(), address="https://acme.example/_/",
    configure=never, next_secret=never, attempt=never, replay=never,  # type: ignore[arg-type]  # none is called
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
