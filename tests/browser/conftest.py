"""Open the real demo in a real browser."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, async_playwright, expect

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip  # one command line
RUNNING = "Contact Score is running: "
WIDE, NARROW = (1280, 900), (390, 844)

expect.set_options(timeout=15_000)
Open = Callable[..., Awaitable[Page]]


@asynccontextmanager
async def demo() -> AsyncIterator[tuple[Process, list[str]]]:
    """Run `contact-score demo` as a process; yield it with the lines that it wrote until it listened."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", stdout=PIPE, stderr=None, start_new_session=True
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(60):
            while not (lines and lines[-1].startswith(RUNNING)):
                line = (await process.stdout.readline()).decode()
                assert line, f"the demo ended: {lines}"
                lines.append(line.rstrip("\n"))
        yield process, lines
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


@pytest.fixture(scope="session")
async def demo_url() -> AsyncIterator[str]:
    """Return the URL of one demo for all tests of the session."""
    async with demo() as (_, lines):
        yield lines[-1].removeprefix(RUNNING)


@pytest.fixture(scope="session")
def has_browser() -> bool:
    """Return whether the tests can run: the browser is installed, or is required."""
    return CHROMIUM.exists() or bool(os.environ.get("CI"))


@pytest.fixture(scope="session")
async def browser(has_browser: bool) -> AsyncIterator[Browser]:
    """Start Chromium; if it is missing the tests are skipped, unless the browser is required."""
    if not has_browser:
        pytest.skip(f"NO BROWSER: {CHROMIUM} is missing, so nothing that people see was tested here")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


async def close_forms(context: BrowserContext, url: str) -> None:
    """Close the forms that a test left open, because the next test uses the same demo."""
    state = await (await context.request.get(f"{url}/state?user=U0REP")).json()
    for view in state["views"]:
        closing = {"user": "U0REP", "view": view["id"]}
        await context.request.post(f"{url}/act/close", data=closing, headers={"X-Sandbox": "1"})


@pytest.fixture(scope="session")
async def only_page(browser: Browser) -> AsyncIterator[Page]:
    """Open one page for all tests, because a new page takes three times as long as a reload."""
    context = await browser.new_context(reduced_motion="reduce")
    yield await context.new_page()
    await context.close()


@pytest.fixture
async def open_page(only_page: Page, demo_url: str) -> AsyncIterator[Open]:
    """Return a function that opens the demo's page; fail at the end if the page logged errors to its console."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def fail(error: Error) -> None:
        complaints.append(str(error))

    only_page.on("console", note)
    only_page.on("pageerror", fail)

    async def open_one(*, size: tuple[int, int] = WIDE) -> Page:
        await only_page.set_viewport_size({"width": size[0], "height": size[1]})
        await only_page.emulate_media(color_scheme="light")
        await only_page.goto(demo_url)
        await expect(only_page.locator("#messages")).to_have_attribute("aria-busy", "false")
        return only_page

    yield open_one
    await close_forms(only_page.context, demo_url)
    await only_page.evaluate("localStorage.clear()")
    await only_page.goto("about:blank")
    only_page.remove_listener("console", note)
    only_page.remove_listener("pageerror", fail)
    assert complaints == []
