"""Admins see which programs get events, and one is told when a program or a CRM gets nothing any more."""

from bot.demo.world import Message
from storage.domain.sources import SourceSettings
from storage.events.deliveries import Failure, next_delivery, record_failure
from storage.events.publish import publish_events
from storage.sources.config import add_source
from storage.sources.subscriptions import add_subscription
from storage.sources.writeback_queue import pause_writing
from tests.journeys.acme import Acme
from tests.journeys.admin import ADMIN, ask


async def test_an_admin_hears_of_a_subscription_that_was_turned_off(acme: Acme) -> None:
    """A receiver that is gone turns its subscription off; an admin is told by direct message, and the list says it."""
    assert "No program gets events yet." in acme.seen(await ask(acme, "subscriptions"))
    now = int(acme.sandbox.clock.now() * 1_000_000)
    subscription = await add_subscription(
        acme.workspace, url="https://example.invalid/hook?a=b&c=d", events=["score.changed"], secret="whsec_x",
        by=ADMIN, now=now,
    )  # fmt: skip  # what, then who and when
    listed = acme.seen(await ask(acme, "subscriptions"))
    assert listed == "Subscription 1, `https://example.invalid/hook?a=b&amp;c=d` · works\nscore.changed"

    await ask(acme, "set ada 12")
    await publish_events(acme.workspace, now=now)
    deliveries = [await next_delivery(acme.workspace, subscription=1, slot=slot) for slot in range(16)]
    (delivery,) = [delivery for delivery in deliveries if delivery is not None]
    failure = Failure(problem="it answered 410 Gone", status=410, retry_at=now, is_gone=True)
    await record_failure(acme.workspace, delivery=delivery, subscription=subscription, failure=failure, now=now)

    def told() -> list[Message] | None:
        return [post for post in acme.sandbox.world.posts if "was turned off" in acme.seen(post)] or None

    told_posts = await acme.until(told)
    assert told_posts is not None
    (post,) = told_posts
    assert "it answered 410 Gone" in acme.seen(post)
    assert "`contact-score subscription redeliver 1`" in acme.seen(post)
    assert "*off* since" in acme.seen(await ask(acme, "subscriptions"))


async def test_an_admin_hears_that_scores_are_no_longer_written(acme: Acme) -> None:
    """A CRM that rejects the token gets no scores; an admin is told why by direct message, and what to type."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    source = await add_source(
        acme.workspace, slug="hub", provider="hubspot", secrets=["s"], api_token="t",
        settings=SourceSettings(write_back={"score": "contact_score"}), by=ADMIN, now=now,
    )  # fmt: skip  # what, then who and when
    await pause_writing(acme.workspace, source=source, because="it answered 401: <expired>", now=now)

    def told() -> list[Message] | None:
        return [post for post in acme.sandbox.world.posts if "no longer written" in acme.seen(post)] or None

    told_posts = await acme.until(told)
    assert told_posts is not None
    (post,) = told_posts
    text = acme.seen(post)
    assert "Scores are no longer written to `hub`: it answered 401: &lt;expired&gt;." in text
    assert "`contact-score source set hub --write-back score=contact_score`" in text
