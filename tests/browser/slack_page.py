"""Do on the page what a person does, by what a person sees."""

from playwright.async_api import Locator, Page, expect


def newest(page: Page) -> Locator:
    """Find the newest message."""
    return page.get_by_test_id("message").last


async def say(page: Page, line: str) -> Locator:
    """Type a line, press Enter, and give the answer, which stays the same message when it is replaced."""
    before = await page.get_by_test_id("message").count()
    await page.get_by_test_id("composer").fill(line)
    await page.get_by_test_id("composer").press("Enter")
    await expect(page.get_by_test_id("message")).to_have_count(before + 1)
    return await kept_message(page)


async def kept_message(page: Page) -> Locator:
    """Give the newest message by its own name."""
    handle = await newest(page).get_attribute("data-handle")
    return page.locator(f'[data-handle="{handle}"]')


def words(message: Locator) -> Locator:
    """Find the sections of a message."""
    return message.locator(".block-section")


async def become(page: Page, name: str, channel: str) -> None:
    """Be somebody else, somewhere."""
    await page.get_by_test_id("who").select_option(label=name)
    entry = page.get_by_test_id(f"channel-{channel}")
    await entry.click()
    await expect(entry).to_have_attribute("aria-current", "page")


async def sideways(page: Page) -> int:
    """Measure by how many pixels the page is wider than the screen."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
