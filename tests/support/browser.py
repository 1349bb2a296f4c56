"""The Prefect UI in a real Chromium, as a person uses it. Screenshots are kept in .retrain/screenshots of this checkout."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLong

from tests.support.project import ROOT
from tests.support.site import Site
from tests.support.wait import PATIENCE, until

# milliseconds
MINUTE = 60_000.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)"
)


@contextmanager
def chromium() -> Iterator[Page]:
    """Yield a page of a headless Chromium."""
    with sync_playwright() as playwright:
        # a name that somebody else owns leads to this machine, as it can on any network
        names = "--host-resolver-rules=MAP evil.example 127.0.0.1"
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", names]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        yield page
        browser.close()


def keep(page: Page, name: str) -> Path:
    """Take a screenshot that can be looked at after the test."""
    file = ROOT / ".retrain/screenshots" / f"{name}.png"
    page.screenshot(path=file)
    return file


def submit(button: Locator, taken: Callable[[float], object]) -> None:
    """Submit a form, again where nothing comes of it within a minute.

    After a refusal Prefect only looks anew at a form when it is submitted, and sends it, without a word about
    either, the time after. taken: waits for so many milliseconds until the form is taken, and raises when it is not.
    """

    def is_taken() -> bool:
        with suppress(TooLong):
            button.click(timeout=MINUTE)
        try:
            taken(MINUTE)
        except (TooLong, AssertionError):
            return False
        return True

    until(is_taken)


def log_in(page: Page, site: Site) -> None:
    """Give the UI the password, as it asks for it."""
    page.goto(f"{site.url}/v2/deployments")
    page.get_by_placeholder("admin:pass").fill(site.password)
    page.keyboard.press("Enter")
    expect(page.get_by_placeholder("admin:pass")).to_be_hidden()


def see_pictures(page: Page, count: int) -> None:
    """See a document's pictures; each is there a little after its text."""
    pictures = (
        "[...document.images].filter(image => image.src.startsWith('data:')).map(image => image.naturalWidth)"
    )
    until(lambda: [width > 300 for width in page.evaluate(pictures)] == [True] * count)
