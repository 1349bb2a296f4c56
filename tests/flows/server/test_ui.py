"""The Prefect UI as a person uses it: a real Chromium fills in the form, watches, cancels, retries and reads the report."""

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from tasks.shared.markup import plain
from tests.support.browser import chromium, keep, log_in, needs_chromium, see_pictures, submit
from tests.support.hold import STEPS, Hold, held
from tests.support.project import Project
from tests.support.site import Site, up
from tests.support.stages import STAGES
from tests.support.wait import until
from tests.support.webhook import webhook

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a headless Chromium."""
    with chromium() as opened:
        yield opened


def open_form(page: Page, site: Site, deployment: str = "retrain/manual") -> None:
    its = site.request(f"deployments/name/{deployment}")["id"]
    page.goto(f"{site.url}/v2/deployments/deployment/{its}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").first.click()


def started(page: Page, site: Site, name: str) -> str:
    """Submit a form, open the page of the run that it starts, and return the run's id."""
    its = re.compile("/deployments/deployment/[0-9a-f-]{36}/?([?].*)?$")
    submit(
        page.get_by_role("button", name="Submit"), lambda patience: page.wait_for_url(its, timeout=patience)
    )
    (run,) = site.runs(name)
    page.get_by_role("link", name=run["name"]).first.click()
    return str(run["id"])


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
    """Fill in the form with a value that cannot be, and see it refused beside its field.

    There the refusal stays whatever is typed next: Prefect looks again only when the form is submitted again.
    """
    open_form(page, site)
    rate = page.get_by_label("Learning Rate (Optional)")
    expect(rate).to_have_value("")
    expect(
        page.get_by_text("The peak learning rate. params.yaml: 0.0002. Above 0, at most 1.")
    ).to_be_visible()
    rate.fill("-1")
    refusal = page.get_by_text("Validation failed for field 'params.train.learning_rate'")
    why = "-1 is less than or equal to the minimum of 0"
    submit(
        page.get_by_role("button", name="Submit"),
        lambda patience: expect(refusal).to_contain_text(why, timeout=patience),
    )
    expect(page.get_by_text(why, exact=True)).to_be_visible()
    keep(page, "1-refused")


def fill_in(page: Page, site: Site) -> str:
    """Fill in a new form, not the one that was refused, and submit it; open the run's page and return its id."""
    open_form(page, site)
    page.get_by_label("Learning Rate (Optional)").fill("0.003")
    page.get_by_label("Num Train Epochs (Optional)").fill("3")
    keep(page, "2-form")
    opened = started(page, site, "manual")
    (run,) = site.runs("manual")
    filled = {section: fields for section, fields in run["parameters"]["params"].items() if fields}
    expected = {"train": {"learning_rate": 0.003, "num_train_epochs": 3}}
    assert filled == expected, "what is left empty is not sent"
    return opened


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
    expect(page.get_by_role("heading", name="Scores on 214 test rows")).to_be_visible()
    see_pictures(page, 3)
    page.set_viewport_size({"width": 1400, "height": 2600})
    keep(page, "6-report")


def search(page: Page, site: Site) -> None:
    """Fill in the form of a sweep, whose only training is there already, and see its pictures."""
    open_form(page, site, "sweep/sweep")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.get_by_role("button", name="Add item").first.click()
    added = page.get_by_role("group").filter(has=page.get_by_role("button", name="Drag to reorder"))
    added.get_by_role("textbox").first.fill("train.learning_rate=1e-4:1e-2:log")
    page.get_by_label("trials (Optional)").fill("1")
    page.get_by_label("name (Optional)", exact=True).fill("shades")
    page.get_by_label("deployment (Optional)").fill("none")
    keep(page, "10-sweep")
    site.wait(started(page, site, "sweep"), "Completed")
    page.reload()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name=re.compile("MARKDOWN sweep-")).first.click()
    expect(page.get_by_role("heading", name="A sweep: shades")).to_be_visible()
    see_pictures(page, 3)
    page.set_viewport_size({"width": 1400, "height": 2000})
    keep(page, "11-sweep-report")


def test_a_run_from_the_form_to_its_report(trained: Project, page: Page) -> None:
    with held(trained) as hold, up(trained) as site:
        log_in(page, site)
        be_refused(page, site)
        run = fill_in(page, site)
        watch(page, site, run, hold)
        cancel_and_retry(page, site, run, hold)
        assert site.wait(run)["name"] == "Completed", site.logs(run)
        assert set(site.tasks(run)) == set(STAGES)
        assert [name for name, state in site.tasks(run).items() if state == "Cached"] != []
        read_report(page)
        search(page, site)


def test_without_the_password_the_ui_and_the_api_refuse(project: Project, page: Page) -> None:
    with up(project, password="retrain:open-sesame") as site:  # noqa: S106
        assert page.request.post(f"{site.url}/api/flow_runs/count", data={}).status == 401
        page.goto(f"{site.url}/v2/deployments")
        expect(page.get_by_placeholder("admin:pass")).to_be_visible()
        keep(page, "7-login")
        assert page.get_by_text("nightly").count() == 0
        page.get_by_placeholder("admin:pass").fill("retrain:wrong")
        page.keyboard.press("Enter")
        expect(
            page.get_by_text("Authentication failed").or_(page.get_by_text("Invalid")).first
        ).to_be_visible()
        log_in(page, site)
        page.goto(f"{site.url}/v2/deployments")
        expect(page.get_by_role("link", name="nightly").first).to_be_visible()
        keep(page, "8-inside")
        read_hostile_text(page, site)
        attack(page, site)


HOSTILE = '<img src=x onerror="window.owned=1"> [x](javascript:window.owned=1) | `a` <script>window.owned=1</script>'


def read_hostile_text(page: Page, site: Site) -> None:
    """See a row that would be a page's code as what it is spelled, in a document and in the sentence above it."""
    made = {
        "key": "hostile",
        "type": "markdown",
        "data": f"# {plain(HOSTILE)}",
        "description": plain(HOSTILE),
    }
    artifact = site.request("artifacts/", made)["id"]
    for ui in ("/v2", ""):
        page.goto(f"{site.url}{ui}/artifacts/artifact/{artifact}")
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
        assert page.evaluate("window.owned") is None
    keep(page, "9-hostile-text")


ATTACK = """async ([server, deployment, authorization]) => {
    const read = []
    const start = `${server}/api/deployments/${deployment}/create_flow_run`
    const body = JSON.stringify({state: {type: 'SCHEDULED'}, job_variables: {command: 'touch owned'}})
    const json = {'Content-Type': 'application/json'}
    const tries = {
        'a look': [`${server}/api/admin/version`, {}],
        'a look with the password': [`${server}/api/admin/version`, {headers: {authorization}}],
        'a run': [start, {method: 'POST', body, headers: json}],
        'a run with the password': [start, {method: 'POST', body, headers: {...json, authorization}}],
        'a run without being asked': [start, {method: 'POST', body, mode: 'no-cors'}],
        'the settings': [`${server}/ui-settings`, {}],
    }
    for (const [name, [url, options]] of Object.entries(tries)) {
        try {
            const answer = await fetch(url, options)
            if (answer.ok) read.push(name)
        } catch {}
    }
    const socket = new WebSocket(`${server.replace('http', 'ws')}/api/events/in`, 'prefect')
    await new Promise(done => { socket.onopen = () => { read.push('a socket'); done() }; socket.onerror = done })
    return read
}"""


def attack(page: Page, site: Site) -> None:
    """Have pages of other addresses, in the browser that is logged in, do all they can."""
    deployment = site.request("deployments/name/retrain/manual")["id"]
    known = f"Basic {b64encode(site.password.encode()).decode()}"
    port = site.url.rpartition(":")[2]
    with webhook() as (elsewhere, _):
        other = elsewhere.rpartition(":")[2]
        for address in (elsewhere, f"http://localhost:{other}", f"http://evil.example:{other}"):
            page.goto(f"{address}/page")
            assert page.evaluate(ATTACK, [site.url, deployment, known]) == [], address
        # a form needs no leave of the server to be sent
        page.set_content(f'<form method=post enctype=text/plain action="{site.url}/api/deployments/{deployment}/create_flow_run">'
                         '<input name=\'{"state": {"type": "SCHEDULED"}, "tags": ["\' value=\'"]}\'></form>')  # fmt: skip
        with page.expect_navigation() as sent:
            page.evaluate("document.forms[0].submit()")
        assert sent.value is not None
        assert sent.value.status == 403
        page.goto(f"{elsewhere}/page")
        page.set_content(f'<iframe src="{site.url}/v2/deployments"></iframe>')
        page.wait_for_timeout(2000)
        assert "nightly" not in page.frames[-1].content()
    # the server itself by the attacker's name: its pages would be of one origin with the API
    found = page.goto(f"http://evil.example:{port}/v2/deployments")
    assert found is not None
    assert found.status == 421
    assert page.evaluate(ATTACK, [f"http://evil.example:{port}", deployment, known]) == []
    assert site.runs("manual") == []
