"""The Prefect UI as a person uses it: a real Chromium fills in the form, watches, cancels, retries and reads the report.

Screenshots are kept in .retrain/screenshots of this checkout.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.conftest import ROOT, Project
from tests.hold import STEPS, Hold, held
from tests.server import STAGES
from tests.site import Site, up
from tests.wait import PATIENCE, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
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


def open_form(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/v2/deployments")
    page.get_by_role("link", name="manual").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").first.click()


def choose(page: Page, item: str, confirm: str) -> None:
    """Choose an item of the run's menu and confirm it."""
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name=item).click()
    dialog = page.get_by_role("alertdialog").or_(page.get_by_role("dialog"))
    dialog.get_by_role("button", name=confirm, exact=True).click()


def at_work(site: Site, run: str) -> list[int]:
    """Return the processes that work in the worktree of a run."""
    folder = site.project.root / ".retrain/worktrees" / site.request(f"flow_runs/{run}")["name"]
    found = [(process.pid, Path(process.info["cwd"] or "/")) for process in psutil.process_iter(["cwd"])]
    return [pid for pid, cwd in found if cwd.is_relative_to(folder)]


def be_refused(page: Page, site: Site) -> None:
    """Fill in the form with a value that cannot be, see it refused, and see the refusal go with another value."""
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

    def is_taken() -> bool:
        """Type what can be, again if need be: a late answer to an earlier value stays until the next is asked for."""
        rate.fill("0.004")
        rate.fill("0.003")
        page.wait_for_timeout(5000)
        return beside.is_hidden()

    until(is_taken)


def fill_in(page: Page, site: Site) -> str:
    """Fill in a new form and submit it; open the run's page and return its id.

    Not the form that was refused: its answers to earlier values may still be on their way, and Prefect drops
    without a word a form that is submitted while it takes one of them for an error.
    """
    open_form(page, site)
    page.get_by_label("Learning Rate (Optional)").fill("0.003")
    page.get_by_label("Num Train Epochs (Optional)").fill("3")
    keep(page, "2-form")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile("/deployments/deployment/[0-9a-f-]{36}/?([?].*)?$"))
    (run,) = site.runs("manual")
    filled = {section: fields for section, fields in run["parameters"]["params"].items() if fields}
    expected = {"train": {"learning_rate": 0.003, "num_train_epochs": 3}}
    assert filled == expected, "what is left empty is not sent"
    page.get_by_role("link", name=run["name"]).first.click()
    return str(run["id"])


def watch(page: Page, site: Site, run: str, hold: Hold) -> None:
    """See the stages, and the progress move as the training goes on step by step."""
    hold.reached()
    until(lambda: any("validation at step" in line for line in site.logs(run)))
    page.get_by_role("tab", name="Task Runs").click()
    expect(page.get_by_text("tokenize").first).to_be_visible()
    keep(page, "3-stages")
    page.get_by_role("tab", name="Artifacts").click()
    progress = page.get_by_text("train: step").first
    step = STEPS

    def told() -> str:
        """Let the training take one more step, and return how far the server says that it is."""
        nonlocal step
        step += 1
        hold.at(step)
        hold.reached()
        words = str(site.artifacts(run).get("train-progress", {}).get("description"))
        return words.partition(",")[0] if "loss" in words else ""

    first = until(told)
    page.reload()
    expect(progress).to_contain_text(re.compile("loss .* s left"))
    until(lambda: told() != first)
    page.reload()
    expect(progress).to_be_visible()
    assert first not in progress.inner_text()
    keep(page, "4-progress")


def cancel_and_retry(page: Page, site: Site, run: str, hold: Hold) -> None:
    """Cancel, see the training gone, retry, and see it go on."""
    assert at_work(site, run)
    choose(page, "Cancel", "Cancel Flow Run")
    until(lambda: not at_work(site, run))
    site.wait(run, "Cancelled")
    page.reload()
    expect(page.get_by_text("Cancelled").first).to_be_visible()
    keep(page, "5-cancelled")
    choose(page, "Retry", "Retry")
    until(lambda: any("going on from checkpoint" in line for line in site.logs(run)))
    hold.release()


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
    with held(trained) as hold, up(trained) as site:
        be_refused(page, site)
        run = fill_in(page, site)
        watch(page, site, run, hold)
        cancel_and_retry(page, site, run, hold)
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
