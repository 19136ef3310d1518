"""Use the demo as a newcomer does: type, click, submit forms, push from the CRM, and be refused."""

import asyncio
import re
import signal

import pytest
from playwright.async_api import expect

from tests.bot.cli.program import busy
from tests.browser.conftest import NARROW, RUNNING, Open, demo
from tests.browser.slack_page import become, kept_message, newest, say, sideways, words

pytestmark = pytest.mark.slow

GUEST = "Scores are for members of this workspace; guests cannot see or change them."
OUTSIDER = "Scores are for members of this workspace; people from other organizations cannot see or change them."
SHARED = (
    "This conversation is shared with another organization, so nothing is shown here."
    " Ask me in our direct messages instead: open Contact Score under Apps."
)


async def test_top_five(open_page: Open) -> None:
    """`/score top 5` privately lists the five highest contacts; the suggested line does the same."""
    page = await open_page()
    typed = await say(page, "/score top 5")
    texts = [await section.inner_text() for section in await words(typed).all()]
    await page.get_by_role("button", name="/score top 5").click()
    await expect(page.get_by_test_id("message").nth(-1)).not_to_have_attribute(
        "data-handle", str(await typed.get_attribute("data-handle"))
    )
    clicked = await kept_message(page)
    values = [int(match[1]) for text in texts[1:] if (match := re.match(r".+ · .+ · (\d+) \(\w+\)\s+Open", text))]

    assert texts[0] == "Top 5 by Score"
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
    await expect(typed).to_have_attribute("data-ephemeral", "true")
    await expect(typed).to_contain_text("Only visible to you")
    assert [await section.inner_text() for section in await words(clicked).all()] == texts


async def test_set_and_undo(open_page: Open) -> None:
    """A set score has a receipt; Undo replaces it by the receipt of the undo, and Undo of that restores the score."""
    page = await open_page()
    await say(page, "/score set ada@example.com 40")
    receipt = await say(page, "/score set ada@example.com 85 because great demo")
    before = await words(receipt).inner_text()
    await receipt.get_by_role("button", name="Undo").click()
    await expect(words(receipt)).to_have_text("Ada Lovelace · Score 85 → 40 (warm) · undone")
    await receipt.get_by_role("button", name="Undo").click()
    await expect(words(receipt)).to_have_text("Ada Lovelace · Score 40 → 85 (hot) · undone")
    await receipt.get_by_role("button", name="History").click()
    history = newest(page)
    await expect(history).to_contain_text("Ada Lovelace · Score")

    assert before == 'Ada Lovelace · Score 40 → 85 (hot) · "great demo"'
    await expect(history).to_contain_text('40 → 85 (+45), hot · set by @Robin Rep · "great demo"')


async def test_a_chart_under_a_history(open_page: Open) -> None:
    """The chart is an image inside the view, with its facts in words; nobody else sees it."""
    page = await open_page()
    charted = await say(page, "/score history ada@example.com 90d")
    picture = charted.locator(".block-image img")
    await picture.scroll_into_view_if_needed()
    await expect(picture).to_be_in_viewport(ratio=0.99)
    size = await picture.evaluate("image => [image.naturalWidth, image.complete]")
    await become(page, "Jane Kim (member)", "sales")

    assert size == [840, True]
    await expect(charted).to_have_count(0)


async def test_the_form_of_a_card(open_page: Open) -> None:
    """Set on a card opens the form with the current scores; a mistake is shown and corrected in the form."""
    page = await open_page()
    await say(page, "/score set ada@example.com 50 fit=5 satisfaction=3")
    card = await say(page, "/score ada@example.com")
    await card.get_by_role("button", name="Set").click()
    form = page.get_by_test_id("modal")
    await expect(form.get_by_role("heading", name="Set scores")).to_be_visible()
    for label, value in (("Score", "50"), ("Fit", "5"), ("Satisfaction", "3")):
        await expect(form.get_by_label(re.compile(f"^{label}"))).to_have_value(value)
    await form.get_by_label(re.compile("^Fit")).fill("8")
    await form.get_by_label(re.compile("^Satisfaction")).fill("4.7")
    await form.get_by_label(re.compile("^Because")).fill("renewed early")
    await form.get_by_test_id("modal-submit").click()
    await expect(form).to_contain_text("Satisfaction goes in steps of 0.5; use 4.5 or 5.")
    await form.get_by_label(re.compile("^Satisfaction")).fill("4.5")
    await form.get_by_test_id("modal-submit").click()
    await expect(form).to_be_hidden()

    receipt = 'Ada Lovelace · Fit 5 → 8 (good) · Satisfaction 3 → 4.5 (delighted) · "renewed early"'
    # wait for a list, because the card is still the newest message
    await expect(words(newest(page))).to_have_text([receipt])


async def test_the_form_by_a_bare_set(open_page: Open) -> None:
    """Without a contact the form has a searchable menu; the keyboard is enough to use it."""
    page = await open_page()
    await say(page, "/score set ada@example.com 50")
    await page.get_by_test_id("composer").fill("/score set")
    await page.get_by_test_id("composer").press("Enter")
    form = page.get_by_test_id("modal")
    contact = form.get_by_role("combobox", name="Contact")
    await expect(contact).to_be_focused()
    await page.keyboard.type("ada")
    await expect(form.get_by_role("option")).to_have_text(
        re.compile("^Ada Lovelace · Analytical Engines · ada@example.com$")
    )
    await page.keyboard.press("Enter")
    await expect(contact).to_have_value("Ada Lovelace · Analytical Engines · ada@example.com")
    await form.get_by_label(re.compile("^Score")).fill("77")
    await page.keyboard.press("Control+Enter")
    await expect(form).to_be_hidden()

    await expect(words(newest(page))).to_have_text(["Ada Lovelace · Score 50 → 77 (warm)"])


async def test_a_form_that_is_cancelled(open_page: Open) -> None:
    """Escape closes the form, and nothing is posted or changed."""
    page = await open_page()
    card = await say(page, "/score ada@example.com")
    count = await page.get_by_test_id("message").count()
    await card.get_by_role("button", name="Set").click()
    form = page.get_by_test_id("modal")
    await expect(form).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(form).to_be_hidden()

    await expect(page.get_by_test_id("message")).to_have_count(count)


async def test_a_push_changes_what_is_shown(open_page: Open) -> None:
    """A sample of the CRM is signed, sent and answered on the page, and the card changes."""
    page = await open_page()
    await say(page, "/score set ada@example.com fit=2")
    before = await say(page, "/score ada@example.com")
    await expect(before).to_contain_text(re.compile(r"Fit\s*2 \(poor\)"))
    await page.get_by_label("Sample").select_option(label="Fit set to 9 after a demo")
    await page.get_by_test_id("push-send").click()
    answer, request = page.get_by_test_id("push-answer"), page.get_by_test_id("push-request")
    await expect(answer.get_by_role("heading")).to_have_text(re.compile(r"^Answer 200 in \d+ ms$"))
    after = await say(page, "/score ada@example.com")

    await expect(answer).to_contain_text('"applied": 1')
    await expect(request).to_contain_text("webhook-signature: v1,")
    await expect(after).to_contain_text(re.compile(r"Fit\s*9 \(good\)"))
    await expect(after).to_contain_text("from sample-crm")


async def test_one_bad_item_among_three(open_page: Open) -> None:
    """The valid items of a batch are applied, and the response says what is wrong with the bad one."""
    page = await open_page()
    await page.get_by_label("Sample").select_option(label="Three at once, one of them bad")
    await page.get_by_test_id("push-send").click()
    answer = page.get_by_test_id("push-answer")

    await expect(answer).to_contain_text('"applied": 2')
    await expect(answer).to_contain_text('"quarantined": 1')


async def test_an_agent_calls_two_tools(open_page: Open) -> None:
    """The panel shows an address and a token, and the text and data that the tools return, also on a phone."""
    page = await open_page(size=NARROW)
    await page.get_by_role("button", name="CRM", exact=True).click()
    await expect(page.get_by_label("Address", exact=True)).to_have_value(re.compile(r"^http://127\.0\.0\.1:\d+/mcp$"))
    await expect(page.get_by_label("Token", exact=True)).to_have_value(re.compile("^cs_"))
    await page.get_by_test_id("agent-call").click()
    find, get = page.get_by_test_id("agent-answer").nth(0), page.get_by_test_id("agent-answer").nth(1)
    await expect(find).to_contain_text("3 contacts match")
    await expect(get).to_contain_text('"followups"')

    assert await sideways(page) == 0


@pytest.mark.parametrize(
    ("name", "channel", "refusal"),
    [
        ("Gus Guest (guest)", "sales", GUEST),
        ("Olga Outsider (outsider)", "acme-elsewhere", OUTSIDER),
        ("Robin Rep (rep)", "acme-elsewhere", SHARED),
        ("Alex Admin (admin)", "acme-elsewhere", SHARED),
    ],
)
async def test_refusals(open_page: Open, name: str, channel: str, refusal: str) -> None:
    """A guest, an outsider and a member in the shared channel get one private sentence without data about a contact."""
    page = await open_page()
    await become(page, name, channel)
    for line in ("/score ada@example.com", "/score set ada@example.com 85", "/score top 5"):
        answer = await say(page, line)
        await expect(words(answer)).to_have_text(refusal)
        await expect(answer).to_have_attribute("data-ephemeral", "true")
        await expect(answer.get_by_role("button")).to_have_count(0)


async def test_direct_messages(open_page: Open) -> None:
    """The direct messages to which the refusal points give the answer."""
    page = await open_page()
    await become(page, "Robin Rep (rep)", "Contact Score")
    answer = await say(page, "/score ada@example.com")

    await expect(words(answer).first).to_have_text("Ada Lovelace · Analytical Engines · ada@example.com")


async def test_help(open_page: Open) -> None:
    """`/score` alone lists what can be typed."""
    page = await open_page()
    answer = await say(page, "/score")

    await expect(words(answer).first).to_contain_text("/score set CONTACT VALUES [because …]: set scores")


async def test_the_clock(open_page: Open) -> None:
    """After the clock moves by a day, today's change is shown as yesterday's."""
    page = await open_page()
    await say(page, "/score set ada@example.com 51")
    await expect(await say(page, "/score ada@example.com")).to_contain_text(
        re.compile(r"Score\s*51 .*[Tt]oday", re.DOTALL)
    )
    time_shown = await page.locator("#clock-now").inner_text()
    await page.get_by_role("button", name="1 day").click()
    await expect(page.locator("#clock-now")).not_to_have_text(time_shown)

    await expect(await say(page, "/score ada@example.com")).to_contain_text(
        re.compile(r"Score\s*51 .*[Yy]esterday", re.DOTALL)
    )


async def test_a_free_port_is_taken_where_the_usual_one_is_busy() -> None:
    """If port 8080 is in use, the demo says so and uses another port; it exits with 0 on SIGTERM."""
    with busy(8080):
        async with demo() as (process, lines):
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                code = await process.wait()

    assert lines[0] == "Port 8080 is in use, so the demo takes a free one."
    assert not lines[1].removeprefix(RUNNING).endswith(":8080")
    assert code == 0
