"""Admins say in Slack which programs get events, and one is told when a program or a CRM gets nothing any more."""

import re

from bot.demo.world import Message
from storage.domain.sources import SourceSettings
from storage.events.deliveries import Failure, next_delivery, record_failure
from storage.events.publish import publish_events
from storage.sources.config import add_source
from storage.sources.subscriptions import add_subscription, find_with_secrets, subscriptions
from storage.sources.writeback_queue import pause_write_backs
from tests.journeys.acme import Acme
from tests.journeys.admin import ADMIN, ask, form_of, hand_in, press, refused

HOOK = "https://example.invalid/hook?a=b&c=d"


async def test_a_subscription_is_added_changed_and_removed(acme: Acme) -> None:
    """Each secret is shown once, mistakes are shown at their fields, and the list says what each program gets."""
    empty = await ask(acme, "subscriptions")
    assert acme.seen(empty).startswith("*No program gets events yet.* Add a subscription")
    view = await form_of(acme, empty, "Add a subscription")
    assert list(await refused(acme, view, url="example.com")) == ["url"]
    assert "score.changed" in (await refused(acme, view, url=HOOK, events="moon.rise"))["events"]
    assert "/score segment" in (await refused(acme, view, events="", segments="nobody"))["segments"]
    added = acme.seen(await hand_in(acme, view, segments="", events="score.changed, score.band_entered"))
    now = int(acme.sandbox.clock.now() * 1_000_000)
    (secret,) = (await find_with_secrets(acme.workspace, id=1, now=now)).secrets
    assert added == (
        "Added the subscription 1. Events are sent to `https://example.invalid/hook?a=b&amp;c=d`\n"
        f"They are signed as Standard Webhooks, with the secret `{secret}`\n"
        "(Copy the secret now: it is not shown again.)"
    )
    listed = await ask(acme, "subscriptions")
    assert acme.seen(listed) == (
        "*Subscriptions:* the programs that get events\n"
        "Subscription 1, `https://example.invalid/hook?a=b&amp;c=d` · works\nscore.changed, score.band_entered\n"
        "[Edit] [New secret] [Remove]\n"
        "[Add a subscription]"
    )

    rotated = acme.seen(await press(acme, listed, "New secret"))
    newer, older = (await find_with_secrets(acme.workspace, id=1, now=now)).secrets
    assert older == secret
    assert f"with the secret `{newer}`" in rotated
    assert secret not in rotated

    await ask(acme, "segment save vip tag:vip")
    view = await form_of(acme, listed, "Edit")
    assert list(await refused(acme, view, url="ftp://example.com")) == ["url"]
    changed = acme.seen(await hand_in(acme, view, url=HOOK, events="", segments="vip", imports=["imports"]))
    assert changed == (
        "*Changed subscription 1.*\n"
        "Events: score.changed, score.band_entered → segment.entered, segment.left\n"
        "Segments: none → vip\n"
        "Imports: not sent → also sent"
    )
    (subscription,) = await subscriptions(acme.workspace)
    assert (subscription.url, subscription.segments, subscription.imports) == (HOOK, ("vip",), True)
    view = await form_of(acme, listed, "Edit")
    assert acme.seen(await hand_in(acme, view)) == "*Nothing changed in subscription 1.*"

    removed = acme.seen(await press(acme, listed, "Remove"))
    assert removed.startswith("Removed the subscription 1.\n*No program gets events yet.*")
    assert await subscriptions(acme.workspace) == []
    for _ in range(9):
        await add_subscription(acme.workspace, url=HOOK, events=(), secret="whsec_x", by=ADMIN, now=now)
    first = await ask(acme, "subscriptions")
    assert acme.seen(first).count("\nevery event\n") == 7
    assert re.findall(r"Subscription (\d+)", acme.seen(first)) == ["2", "3", "4", "5", "6", "7", "8"]
    assert re.findall(r"Subscription (\d+)", acme.seen(await press(acme, first, "More subscriptions"))) == ["9", "10"]


async def test_a_button_of_a_removed_subscription_says_so(acme: Acme) -> None:
    """Whoever clicks in an older list learns that the subscription is gone, and nothing is changed."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_subscription(acme.workspace, url=HOOK, events=(), secret="whsec_x", by=ADMIN, now=now)
    listed = await ask(acme, "subscriptions")
    await press(acme, await ask(acme, "subscriptions"), "Remove")
    for label in ("Edit", "New secret", "Remove"):
        gone = "Nothing was changed: that subscription was removed. The others: `/score subscriptions`"
        assert acme.seen(await press(acme, listed, label)) == gone


async def test_an_admin_hears_of_a_subscription_that_was_turned_off(acme: Acme) -> None:
    """A receiver that is gone turns its subscription off; an admin is told by direct message, and turns it on there."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    subscription = await add_subscription(
        acme.workspace, url=HOOK, events=["score.changed"], secret="whsec_x", by=ADMIN, now=now
    )

    await ask(acme, "set ada 12")
    await publish_events(acme.workspace, now=now)
    deliveries = [await next_delivery(acme.workspace, subscription=1, slot=slot) for slot in range(16)]
    (delivery,) = [delivery for delivery in deliveries if delivery is not None]
    failure = Failure(problem="it answered 410 Gone", status=410, retry_at=now + 600_000_000, is_gone=True)
    await record_failure(acme.workspace, delivery=delivery, subscription=subscription, failure=failure, now=now)

    def told() -> list[Message] | None:
        return [post for post in acme.sandbox.world.posts if "was turned off" in acme.seen(post)] or None

    told_posts = await acme.until(told)
    assert told_posts is not None
    (post,) = told_posts
    assert "it answered 410 Gone" in acme.seen(post)
    assert "`contact-score subscription redeliver 1`" in acme.seen(post)
    assert "*off* since" in acme.seen(await ask(acme, "subscriptions"))

    sent_again = acme.seen(await press(acme, post, "Turn on and send again"))
    assert sent_again.startswith("1 event is sent again to subscription 1.\n*Subscriptions:*")
    (subscription,) = await subscriptions(acme.workspace)
    assert subscription.disabled_at is None


async def test_an_admin_hears_that_scores_are_no_longer_written(acme: Acme) -> None:
    """A CRM that rejects the token gets no scores; an admin is told why by direct message, and what to type."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    source = await add_source(
        acme.workspace, slug="hub", provider="hubspot", secrets=["s"], api_token="t",
        settings=SourceSettings(write_back={"score": "contact_score"}), by=ADMIN, now=now,
    )  # fmt: skip  # what, then who and when
    await pause_write_backs(acme.workspace, source=source, because="it answered 401: <expired>", now=now)

    def told() -> list[Message] | None:
        return [post for post in acme.sandbox.world.posts if "no longer written" in acme.seen(post)] or None

    told_posts = await acme.until(told)
    assert told_posts is not None
    (post,) = told_posts
    text = acme.seen(post)
    assert "Scores are no longer written to `hub`: it answered 401: &lt;expired&gt;." in text
    assert "`contact-score source set hub --write-back score=contact_score`" in text
