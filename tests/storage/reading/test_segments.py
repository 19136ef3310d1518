"""Segments are saved filters with a name. They are validated when saved, and never contain themselves."""

import pytest

from storage.alerts.enroll import add_alert_rule
from storage.db import database
from storage.domain.errors import BadName, SegmentInUse, UnknownSegment
from storage.domain.filters import BadFilter
from storage.reading.segments import delete_segment, dependent_rules, save_segment, segment, segments
from storage.sources.subscriptions import add_subscription, disable, remove_subscription
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team


async def test_segments_are_kept_by_name(team: Team) -> None:
    """Saving a name again replaces its segment, other teams are unaffected, and a used segment cannot be deleted."""
    workspace = team.workspace
    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW)
    assert await save_segment(workspace, name="hot", text="score>=80", by="U0ADMIN", now=NOW) is None
    assert await save_segment(workspace, name="hot", text="score>=90 sort:-score", by="U0ADMIN", now=NOW) == "score>=80"
    assert (
        await save_segment(workspace, name="vips", text="segment:hot tag:vip OR owner:me", by="U0ADMIN", now=NOW)
        is None
    )

    assert await segments(workspace) == {"hot": "score>=90 sort:-score", "vips": "segment:hot tag:vip OR owner:me"}
    assert await segments(other) == {}
    with pytest.raises(SegmentInUse) as error:
        await delete_segment(workspace, name="hot", by="U0ADMIN", now=NOW)
    assert (error.value.segments, error.value.rules) == (("vips",), ())
    assert await delete_segment(workspace, name="vips", by="U0ADMIN", now=NOW) == "segment:hot tag:vip OR owner:me"
    assert await delete_segment(workspace, name="hot", by="U0ADMIN", now=NOW) == "score>=90 sort:-score"
    assert await segments(workspace) == {}
    with pytest.raises(UnknownSegment, match=r"^there is no segment `hot`\. No segments are saved yet\.$"):
        await segment(workspace, name="hot")


async def test_a_segment_with_subscriptions_is_not_deleted(team: Team) -> None:
    """A segment is not deleted while a subscription, working or turned off, gets its events."""
    workspace = team.workspace
    await save_segment(workspace, name="hot", text="score>=80", by="U0ADMIN", now=NOW)
    await save_segment(workspace, name="hotter", text="score>=90", by="U0ADMIN", now=NOW)
    for segments_of_one in (["hotter"], ["hot", "hotter"], []):
        await add_subscription(
            workspace, url="https://example.com/", segments=segments_of_one, events=(), secret="whsec_x",
            by="U0ADMIN", now=NOW,
        )  # fmt: skip  # what, then who and when
    await database.write(lambda session: disable(session, workspace, id=2, because="gone", now=NOW))

    with pytest.raises(SegmentInUse) as error:
        await delete_segment(workspace, name="hot", by="U0ADMIN", now=NOW)
    assert (error.value.segments, error.value.rules, error.value.subscriptions) == ((), (), (2,))
    await remove_subscription(workspace, id=2, by="U0ADMIN", now=NOW)
    assert await delete_segment(workspace, name="hot", by="U0ADMIN", now=NOW) == "score>=80"
    with pytest.raises(UnknownSegment):
        await add_subscription(
            workspace, url="https://example.com/", segments=["hot"], events=(), secret="whsec_x",
            by="U0ADMIN", now=NOW,
        )  # fmt: skip  # what, then who and when


async def test_what_cannot_be_used_is_not_saved(team: Team) -> None:
    """Names that cannot be typed, unreadable filters and circular references are refused."""
    workspace = team.workspace
    await save_segment(workspace, name="a", text="has:score", by="U0ADMIN", now=NOW)
    await save_segment(workspace, name="b", text="segment:a", by="U0ADMIN", now=NOW)
    for name, text, complaint in (
        ("a", "segment:b", "in the segment `b`: a segment cannot name itself: a → b → a"),
        ("c", "segment:c", "a segment cannot name itself: c → c"),
        ("c", "segment:aa", "there is no segment `aa`. Did you mean `a`?"),
        ("aaa", "segment:zz", "there is no segment `zz`. Choose from `a`, `b`."),  # the new segment is not listed yet
        ("c", "fti>3", "there is no field `fti`."),
    ):
        with pytest.raises(BadFilter) as error:
            await save_segment(workspace, name=name, text=text, by="U0ADMIN", now=NOW)
        assert str(error.value).startswith(complaint)
    for name in ("", "9", "Hot", "a b", "x" * 33, "é"):
        with pytest.raises(BadName, match="cannot name a segment"):
            await save_segment(workspace, name=name, text="has:score", by="U0ADMIN", now=NOW)
    with pytest.raises(UnknownSegment, match=r"there is no segment `bb`\. Did you mean `b`\?"):
        await segment(workspace, name="bb")
    with pytest.raises(UnknownSegment, match=r"^there is no segment `zzz`\. Choose from `a`, `b`\.$"):
        await delete_segment(workspace, name="zzz", by="U0ADMIN", now=NOW)
    assert await segments(workspace) == {"a": "has:score", "b": "segment:a"}


async def test_the_rules_that_depend_on_a_segment(team: Team) -> None:
    """A rule depends on the segments in its condition, and on the segments that these use, however deep."""
    workspace = team.workspace
    for name, text in (("a", "tag:a"), ("b", "segment:a"), ("c", "-(segment:b OR tag:c)"), ("d", "tag:d")):
        await save_segment(workspace, name=name, text=text, by="U0ADMIN", now=NOW)
    for words in ("score crosses 50 if segment:c", "score crosses 60 if segment:(d,b)", "score crosses 70"):
        await add_alert_rule(workspace, words=words, made_by="U1", owners={}, now=NOW)

    dependent = {name: [rule.id for rule in await dependent_rules(workspace, name=name)] for name in "abcd"}

    assert dependent == {"a": [2, 3], "b": [2, 3], "c": [2], "d": [3]}
