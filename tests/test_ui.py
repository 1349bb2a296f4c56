"""The Prefect UI as a person uses it: a real Chromium fills in the form, watches, cancels, retries and reads the report.

Screenshots are kept in .retrain/screenshots of this checkout.
"""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.conftest import ROOT, Project
from tests.server import STAGES
from tests.site import Site, until, up

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60_000  # milliseconds
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()


def keep(page: Page, name: str) -> Path:
    """Take a screenshot that can be looked at after the test."""
    file = ROOT / ".retrain/screenshots" / f"{name}.png"
    page.screenshot(path=file)
    return file


def open_form(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/v2/deployments")
    page.get_by_role("link", name="manual").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").first.click()


def choose(page: Page, item: str, confirm: str) -> None:
    """Choose an item of the run's menu and confirm it."""
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name=item).click()
    page.get_by_role("alertdialog").or_(page.get_by_role("dialog")).get_by_role("button", name=confirm, exact=True).click()


def training(site: Site) -> list[int]:
    """Return the processes that work in the worktrees of runs."""
    folder = site.project.root / ".retrain/worktrees"
    return [process.pid for process in psutil.process_iter(["cwd"]) if Path(process.info["cwd"] or "/").is_relative_to(folder)]


def fill_in(page: Page, site: Site) -> str:
    """Fill in the form, first with a value that cannot be; submit it, open the run's page and return its id."""
    open_form(page, site)
    rate = page.get_by_label("Learning Rate (Optional)")
    expect(rate).to_have_value("")
    expect(page.get_by_text("The peak learning rate. params.yaml: 0.0002. Above 0, at most 1.")).to_be_visible()
    rate.fill("-1")
    page.get_by_role("button", name="Submit").click()
    refusal = page.get_by_text("Validation failed for field 'params.train.learning_rate'")
    expect(refusal).to_contain_text("-1 is less than or equal to the minimum of 0")
    beside = page.get_by_text("-1 is less than or equal to the minimum of 0", exact=True)
    expect(beside).to_be_visible()
    keep(page, "1-refused")
    rate.fill("0.003")
    page.get_by_label("Num Train Epochs (Optional)").fill("25")
    expect(beside).to_be_hidden()
    keep(page, "2-form")
    page.get_by_role("button", name="Submit").click()
    (run,) = until(lambda: site.runs("manual"))
    filled = {section: fields for section, fields in run["parameters"]["params"].items() if fields}
    assert filled == {"train": {"learning_rate": 0.003, "num_train_epochs": 25}}, "what is left empty is not sent"
    page.get_by_role("link", name=run["name"]).first.click()
    return str(run["id"])


def watch(page: Page, site: Site, run: str) -> None:
    """See the stages, and the progress move."""
    until(lambda: any("validation at step" in line for line in site.logs(run)))
    page.get_by_role("tab", name="Task Runs").click()
    expect(page.get_by_text("tokenize").first).to_be_visible()
    keep(page, "3-stages")
    page.get_by_role("tab", name="Artifacts").click()
    progress = page.get_by_text("train: step")
    seen = progress.first.inner_text()
    assert "loss" in seen
    assert "s left" in seen
    until(lambda: page.reload() or progress.first.inner_text() != seen, 30)
    expect(progress.first).to_be_visible()
    keep(page, "4-progress")


def cancel_and_retry(page: Page, site: Site, run: str) -> None:
    """Cancel, see the training gone within ten seconds, retry, and see it go on."""
    assert training(site)
    choose(page, "Cancel", "Cancel Flow Run")
    asked = time.monotonic()
    until(lambda: not training(site), 10)
    print(f"the training process was gone {time.monotonic() - asked:.1f} s after the click")
    assert site.wait(run, "Cancelled", seconds=30)
    keep(page, "5-cancelled")
    page.reload()
    choose(page, "Retry", "Retry")
    until(lambda: any("going on from checkpoint" in line for line in site.logs(run)))


def read_report(page: Page) -> None:
    """Open the report and see its pictures."""
    page.reload()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name="report").first.click()
    page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).first.click()
    expect(page.get_by_role("heading", name="Scores on 214 test rows")).to_be_visible()
    widths = page.evaluate("[...document.images].filter(image => image.src.startsWith('data:')).map(image => image.naturalWidth)")
    assert len(widths) == 2
    assert min(widths) > 300
    page.set_viewport_size({"width": 1400, "height": 2600})
    keep(page, "6-report")


def test_a_run_from_the_form_to_its_report(trained: Project, page: Page) -> None:
    with up(trained) as site:
        run = fill_in(page, site)
        watch(page, site, run)
        cancel_and_retry(page, site, run)
        assert site.wait(run)["name"] == "Completed", site.logs(run)
        assert set(site.tasks(run)) == STAGES
        assert [name for name, state in site.tasks(run).items() if state == "Cached"] != []
        read_report(page)


def test_without_the_password_the_ui_and_the_api_refuse(project: Project, page: Page) -> None:
    with up(project, password="retrain:open-sesame") as site:  # noqa: S106
        assert page.request.post(f"{site.url}/api/flow_runs/count", data={}).status == 401
        page.goto(f"{site.url}/v2/deployments")
        expect(page.get_by_placeholder("admin:pass")).to_be_visible()
        keep(page, "7-login")
        assert page.get_by_text("nightly").count() == 0
        page.get_by_placeholder("admin:pass").fill("retrain:wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Authentication failed").or_(page.get_by_text("Invalid")).first).to_be_visible()
        page.get_by_placeholder("admin:pass").fill("retrain:open-sesame")
        page.keyboard.press("Enter")
        expect(page.get_by_placeholder("admin:pass")).to_be_hidden()
        page.goto(f"{site.url}/v2/deployments")
        expect(page.get_by_role("link", name="nightly").first).to_be_visible()
        keep(page, "8-inside")
