"""Save a filter as a segment in Slack, and use it in other filters and through the API."""

import aiohttp

from storage.tokens import create_token
from tests.conftest import on_both
from tests.journeys.acme import Acme

FOUND = (
    "*2 contacts fit* `{}`\n"
    "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm) [Open]\n"
    "🟨 *Grace Hopper* · Navy · Score *41* (warm) [Open]\n"
    "[Share to channel] [Change all 2]"
)


@on_both
async def test_a_segment_from_its_first_day_to_its_last(acme: Acme) -> None:
    """A segment is saved, listed, shown, used, replaced, reused, protected from deletion while in use, and deleted."""
    answers = [
        acme.seen(await acme.ask(line))
        for line in (
            "segment",
            "segment save hot score>=40",
            "segment list",
            "segment show hot",
            "filter segment:hot -tag:nobody",
            "segment save mine segment:hot owner:@robin",
            "segment:mine",
            "segment delete hot",
            "segment save hot segment:mine",
            "segment save hot score>=60",
            "filter segment:hto",
            "segment show hto",
            "segment rename hot cold",
            "segment delete mine",
        )
    ]
    token = (await create_token(acme.workspace, name="script", scopes=["read"], by="U0ADMIN", now=1))[1]
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        listed = await (await session.get(f"{acme.sandbox.app_url}/api/v1/segments")).json()
        page = await (await session.get(f"{acme.sandbox.app_url}/api/v1/contacts?q=segment:hot")).json()

    usage = (
        "Type `/score segment save hot score&gt;=80`, `/score segment list`, `segment show NAME` or"
        " `segment delete NAME`."
    )
    assert answers == [
        "No segment is saved yet. Save one: `/score segment save hot score&gt;=80`",
        "Saved *hot*: `score&gt;=40`. Use it: `/score filter segment:hot`",
        "*1 segment*\n*hot*  `score&gt;=40`\n"
        "(`/score segment show hot` lists its contacts; `segment:hot` uses it in any filter.)",
        FOUND.format("score&gt;=40"),
        FOUND.format("segment:hot -tag:nobody"),
        "Saved *mine*: `segment:hot owner:rep@acme.example`. Use it: `/score filter segment:mine`",
        "*1 contact fits* `segment:mine`\n🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm) [Open]\n"
        "[Share to channel]",
        "The segment `hot` was not deleted: the segment `mine` uses it."
        " First type `/score segment save mine …` without it",
        "In the segment `mine`: a segment cannot name itself: hot → mine → hot\n```segment:mine\n        ^^^^```",
        "Saved *hot*: `score&gt;=60`. It was `score&gt;=40`. Use it: `/score filter segment:hot`",
        "There is no segment `hto`. Did you mean `hot`?\n```segment:hto\n        ^^^```",
        "There is no segment `hto`. Did you mean `hot`? Saved segments: `/score segment list`",
        usage,
        "Deleted the segment *mine*, which was `segment:hot owner:rep@acme.example`.",
    ]
    assert listed == {"items": [{"name": "hot", "filter": "score>=60"}], "next_cursor": None}
    assert [item["email"] for item in page["items"]] == ["ada@example.com"]
