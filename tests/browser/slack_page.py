"""Act on the page as a person does, by visible text and roles."""

from playwright.async_api import Locator, Page, expect


def newest(page: Page) -> Locator:
    """Return the newest message."""
    return page.get_by_test_id("message").last


async def say(page: Page, line: str) -> Locator:
    """Type a line, press Enter, and return the answer by its id, so that it is found after it is replaced."""
    before = await page.get_by_test_id("message").count()
    await page.get_by_test_id("composer").fill(line)
    await page.get_by_test_id("composer").press("Enter")
    await expect(page.get_by_test_id("message")).to_have_count(before + 1)
    return await kept_message(page)


async def kept_message(page: Page) -> Locator:
    """Return the newest message by its id."""
    handle = await newest(page).get_attribute("data-handle")
    return page.locator(f'[data-handle="{handle}"]')


def words(message: Locator) -> Locator:
    """Return the sections of a message."""
    return message.locator(".block-section")


async def become(page: Page, name: str, channel: str) -> None:
    """Switch to another person and place."""
    await page.get_by_test_id("who").select_option(label=name)
    entry = page.get_by_test_id(f"channel-{channel}")
    await entry.click()
    await expect(entry).to_have_attribute("aria-current", "page")


async def sideways(page: Page) -> int:
    """Return by how many pixels the page is wider than the screen."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
