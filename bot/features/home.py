"""The Home tab, which is made of the sections of other features, contacts to look at, and examples of what to type."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from bot.blocks.elements import context, section
from bot.blocks.failures import name_work
from bot.blocks.home import health_blocks, portfolio_blocks, settings_blocks
from bot.slack.access import Need
from bot.slack.examples import fill_examples
from bot.slack.handling import Block, Reply, Request
from bot.slack.text import escape_code
from storage.domain.facts import DAY
from storage.jobs import FAILED
from storage.notices import list_notices
from storage.reading.portfolio import load_portfolio
from storage.sources.deliveries import count_quarantined_up_to
from storage.sources.health import list_troubled
from storage.sources.subscriptions import subscriptions

#: returns the blocks of one section, or nothing if there is nothing to show
HomeSection: TypeAlias = Callable[[Request], Awaitable[Sequence[Block]]]

HOTTEST, MOVERS = 5, 3  # contacts in a list
MOST_COUNTED = 1_000  # items in quarantine
WEEK = 7 * DAY  # how long a failed job is shown


async def home_reply(request: Request, home_sections: Sequence[HomeSection]) -> Reply:
    """Return the Home tab: the sections with a line below each, and examples."""
    blocks: list[Block] = []
    for list_blocks in home_sections:
        if shown := await list_blocks(request):
            blocks += [*shown, {"type": "divider"}]
    lines = await fill_examples(request, ["{contact}", "top 10", "help"])
    blocks.append(section("*What to type*\n" + " · ".join(f"`/score {escape_code(line)}`" for line in lines)))
    blocks.append(context("Scores are for members of this workspace; a contact never sees one."))
    return Reply(text="Contact Score", blocks=blocks)


async def list_contacts(request: Request) -> list[Block]:
    """Return the section with the person's contacts that have the highest scores or moved most."""
    score_type = request.types[0]
    portfolio = await load_portfolio(
        request.workspace,
        owner=request.person.email,
        score_type=score_type,
        hottest=HOTTEST,
        movers=MOVERS,
        now=request.now,
    )
    return portfolio_blocks(portfolio, score_type)


async def list_health(request: Request) -> list[Block]:
    """Return the section for admins about sources, quarantine, jobs and subscriptions."""
    if Need.ADMINISTER not in request.rights:
        return []
    quarantined = await count_quarantined_up_to(request.workspace, most=MOST_COUNTED)
    failed = await list_notices(request.workspace, prefix=FAILED, since=request.now - WEEK)
    return health_blocks(
        await list_troubled(request.workspace),
        quarantined,
        counts_all=quarantined < MOST_COUNTED,
        failed_jobs=[name_work(kind).lower() for kind in failed],
        subscriptions=await subscriptions(request.workspace),
    )


async def show_settings(request: Request) -> list[Block]:
    """Return the section for admins with the settings, once the setup questions are answered."""
    if Need.ADMINISTER not in request.rights or request.choices.set_up_at is None:
        return []
    return settings_blocks(request.choices, request.types)
