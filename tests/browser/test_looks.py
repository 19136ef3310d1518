"""The page is accessible: contrast, names and roles, a narrow screen."""

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.conftest import NARROW, Open
from tests.browser.slack_page import become, say, sideways

pytestmark = pytest.mark.slow


async def assert_accessible(page: Page) -> None:
    """Fail if axe finds a serious violation on the page."""
    results = await Axe().run(page)
    violations = results.response["violations"]
    serious = {
        violation["id"]: [node["target"] for node in violation["nodes"]]
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    }

    assert serious == {}
    assert len(results.response["passes"]) > 15  # axe checked something


async def assert_accessible_in_both_colours(page: Page) -> None:
    """Fail if axe finds a serious violation in the light or the dark color scheme."""
    for colours in ("dark", "light"):
        await page.emulate_media(color_scheme=colours)
        await assert_accessible(page)


async def every_answer(page: Page) -> None:
    """Put an answer of every kind on the page."""
    for line in (
        "/score",
        "/score ada@example.com",
        "/score set ada@example.com 60 because great demo",
        "/score top 5",
        "/score history ada@example.com",
        "/score history ada@example.com 90d",
        "/score set nobody-yet@example.com 85",
        "/score grace",
        "/score filter score>=40",
        "/score set ada 8,5",
    ):
        await say(page, line)


async def test_the_page_is_accessible(open_page: Open) -> None:
    """The page is accessible with every kind of answer, in both color schemes, and at 390 pixels."""
    page = await open_page()
    await every_answer(page)
    await assert_accessible_in_both_colours(page)
    await page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})

    await assert_accessible(page)


async def test_a_form_is_accessible(open_page: Open) -> None:
    """The page is accessible with an open form, and with a mistake in the form, in both color schemes."""
    page = await open_page()
    card = await say(page, "/score ada@example.com")
    await card.get_by_role("button", name="Set").click()
    form = page.get_by_test_id("modal")
    await expect(form).to_be_visible()
    await assert_accessible_in_both_colours(page)
    await form.get_by_label("Satisfaction").fill("4.7")
    await form.get_by_test_id("modal-submit").click()
    await expect(form).to_contain_text("Satisfaction goes in steps of 0.5")

    await assert_accessible_in_both_colours(page)


async def test_what_admins_see_is_accessible(open_page: Open) -> None:
    """The Home tab, the forms with every kind of field, and a confirmation are accessible."""
    page = await open_page()
    await become(page, "Alex Admin (admin)", "home")
    await expect(page.locator("#home").get_by_role("combobox")).to_have_count(2)
    await assert_accessible(page)
    await become(page, "Alex Admin (admin)", "Contact Score")
    form = page.get_by_test_id("modal")
    for line, kind in (("/score alerts add", "combobox"), ("/score delete ada@example.com", "checkbox")):
        await page.get_by_test_id("composer").fill(line)
        await page.get_by_test_id("composer").press("Enter")
        await expect(form.get_by_role(kind).first).to_be_visible()  # type: ignore[arg-type]  # two of the roles
        await assert_accessible(page)
        await page.keyboard.press("Escape")
        await expect(form).to_be_hidden()
    sources = await say(page, "/score sources")
    await sources.get_by_role("button", name="Pause").click()
    await expect(page.locator("dialog.confirm")).to_be_visible()
    await assert_accessible(page)
    await page.locator("dialog.confirm").get_by_role("button").first.click()
    await expect(page.locator("dialog.confirm")).to_be_hidden()


async def test_a_refusal_is_accessible(open_page: Open) -> None:
    """The shared channel with a refusal is accessible in both color schemes."""
    page = await open_page()
    await become(page, "Olga Outsider (outsider)", "acme-elsewhere")
    await say(page, "/score top 5")

    await assert_accessible_in_both_colours(page)


async def test_nothing_scrolls_sideways_on_a_narrow_screen(open_page: Open) -> None:
    """At 390 pixels the page, its drawer, its panel, a form and every answer fit without horizontal scrolling."""
    page = await open_page(size=NARROW)
    widths = {"empty": await sideways(page)}
    await every_answer(page)
    widths["answers"] = await sideways(page)
    card = await say(page, "/score ada@example.com")
    await card.get_by_role("button", name="Set").click()
    await expect(page.get_by_test_id("modal")).to_be_visible()
    widths["form"] = await sideways(page)
    await page.keyboard.press("Escape")
    await expect(page.get_by_test_id("modal")).to_be_hidden()
    await page.get_by_role("button", name="CRM", exact=True).click()
    await expect(page.get_by_test_id("push-send")).to_be_visible()
    await page.get_by_test_id("push-send").click()
    await expect(page.get_by_test_id("push-request")).to_be_visible()
    widths["panel"] = await sideways(page)
    await page.get_by_role("button", name="Close the CRM panel").click()
    await page.get_by_role("button", name="Channels", exact=True).click()
    await expect(page.get_by_test_id("who")).to_be_visible()
    widths["drawer"] = await sideways(page)

    assert widths == dict.fromkeys(("empty", "answers", "form", "panel", "drawer"), 0)


async def test_the_colours_can_be_chosen(open_page: Open) -> None:
    """The color scheme can be chosen independently of the system's, and the choice is kept."""
    page = await open_page()
    before = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.locator("[data-theme-toggle]").first
    await button.click()
    await expect(button).to_have_text("Colors: light")
    await button.click()
    await expect(button).to_have_text("Colors: dark")
    after = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.reload()

    await expect(page.locator("[data-theme-toggle]").first).to_have_text("Colors: dark")
    assert before != after
