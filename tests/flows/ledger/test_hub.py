"""Data sets of the Hugging Face hub: a revision is a commit, and that commit's files are under DVC."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ledger.hub import HubData, parsed
from flows.ledger.sources import name_in_raw
from tasks.shared.errors import InputError, refuse_secret
from tests.support.hub import Hub, hub_server
from tests.support.outside import ROWS
from tests.support.project import Project, clone

SOURCE = "hf://datasets/somebody/tickets"
PAGE, SCRIPT = b"# Tickets", b"raise SystemExit('their code has run')"
FILES = {"README.md": PAGE, "tickets.py": SCRIPT, ".gitattributes": b"", "data/train.csv": ROWS.encode()}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server("somebody/tickets") as running:
        running.commit(FILES)
        yield running


@pytest.fixture
def checkout(tmp_path: Path, hub: Hub) -> Project:
    """A clone in which nothing has run, whose hub is the one on this machine."""
    project = clone(tmp_path / "checkout")
    project.env |= {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
        "NO_PROXY": "127.0.0.1",
    }
    project.env.pop("HF_TOKEN", None)
    return project


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def record(checkout: Project) -> str:
    return (checkout.root / "data/raw/tickets.dvc").read_text("utf-8")


def test_a_source_names_a_data_set_its_revision_and_its_files() -> None:
    assert parsed("hf://datasets/a/b") == HubData("a/b", "main", "")
    assert parsed("hf://datasets/a/b@v1/data/*.csv") == HubData("a/b", "v1", "data/*.csv")
    assert parsed("hf://datasets/a/b@refs/convert/parquet/default") == HubData(
        "a/b", "refs/convert/parquet", "default"
    )
    assert parsed("hf://datasets/a/b@refs%2Fpr%2F3/x") == HubData("a/b", "refs/pr/3", "x")
    assert name_in_raw("hf://datasets/a/b@v1/data/*.csv") == "b"
    assert refuse_secret("hf://datasets/a/b@v1") == "hf://datasets/a/b@v1"
    for odd in ("hf://a/b", "hf://datasets/a", "hf://datasets/a/b@", "hf://datasets/a@b/c", "hf://"):
        with pytest.raises(InputError, match="names no data set on the Hugging Face hub"):
            parsed(odd)


@pytest.mark.slow
def test_a_revision_becomes_a_commit_and_its_data_is_under_dvc(checkout: Project, hub: Hub) -> None:
    commit = hub.branches["main"]
    said = checkout.retrain(SOURCE, command="add").stderr
    assert "is now in data/raw/tickets, under DVC" in said
    assert files_in(checkout.root / "data/raw/tickets") == ["data/train.csv"], (
        "no code, no page, nothing hidden"
    )
    assert f"source: {SOURCE}" in record(checkout)
    assert f"commit: {commit}" in record(checkout)
    before = record(checkout)
    assert hub.downloads == ["data/train.csv"]
    assert "is unchanged" in checkout.retrain(SOURCE, command="add").stderr
    assert hub.downloads == ["data/train.csv"]

    hub.commit(FILES | {"data/train.csv": ROWS.encode() * 2})
    pinned = f"{SOURCE}@{commit}"
    assert "under DVC" in checkout.retrain(pinned, command="add").stderr
    assert hub.downloads == ["data/train.csv"] * 2
    assert re.findall("md5: .*", record(checkout)) == re.findall("md5: .*", before), (
        "a year later the same bytes"
    )
    assert "is now in" in checkout.retrain(SOURCE, command="add").stderr
    assert (checkout.root / "data/raw/tickets/data/train.csv").read_text("utf-8") == ROWS * 2
    assert f"commit: {hub.branches['main']}" in record(checkout)


@pytest.mark.slow
def test_only_the_files_that_are_named_are_downloaded(checkout: Project, hub: Hub) -> None:
    hub.commit(FILES | {"more/a.csv": b"a", "more/b.json": b"b"}, "wide")
    checkout.retrain(f"{SOURCE}@wide/more/*.csv", command="add")
    assert files_in(checkout.root / "data/raw/tickets") == ["more/a.csv"]
    checkout.retrain(f"{SOURCE}@wide/more", command="add")
    assert files_in(checkout.root / "data/raw/tickets") == ["more/a.csv", "more/b.json"]
    refused = checkout.retrain(f"{SOURCE}@wide/less", command="add", status=2).stderr
    assert "has no file less; it has README.md, data/train.csv" in refused
    assert files_in(checkout.root / "data/raw/tickets") == ["more/a.csv", "more/b.json"]


@pytest.mark.slow
def test_a_commit_that_is_here_asks_no_network(checkout: Project, hub: Hub) -> None:
    pinned = f"{SOURCE}@{hub.branches['main']}"
    checkout.retrain(pinned, command="add")
    checkout.env["HF_HUB_OFFLINE"] = "1"
    hub.asked.clear()
    assert "is unchanged" in checkout.retrain(pinned, command="add").stderr
    assert hub.asked == []
    refused = checkout.retrain(SOURCE, command="add", status=2).stderr
    assert "the Hugging Face hub is out of reach (OfflineModeIsEnabled)" in refused


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_a_sentence(checkout: Project, hub: Hub) -> None:
    assert (
        "has no revision 'v9' on the hub" in checkout.retrain(f"{SOURCE}@v9", command="add", status=2).stderr
    )
    other = checkout.retrain("hf://datasets/somebody/else", command="add", status=2).stderr
    assert "there is no data set 'somebody/else' on the Hugging Face hub" in other
    hub.commit({"../../outside.csv": b"text,label\n"}, "hostile")
    assert "leads out of its folder" in checkout.retrain(f"{SOURCE}@hostile", command="add", status=2).stderr
    assert not (checkout.root / "data/raw/tickets").exists()
    assert not list(checkout.root.parent.glob("**/outside.csv"))


@pytest.mark.slow
def test_a_plan_says_where_the_data_would_come_from(checkout: Project, hub: Hub) -> None:
    planned = checkout.retrain("--data.path", SOURCE, command="plan")
    assert f"{SOURCE} would be brought in as data/raw/tickets first" in " ".join(planned.stdout.split())
    assert hub.asked == []


SEEN = """from pathlib import Path
from flows.ledger.data import content_of_source, update_data
from flows.ledger.stages import Ledger
ledger = Ledger(Path.cwd(), say=print)
print(content_of_source(ledger, "data/raw/tickets"))
print(*update_data(ledger, "data/raw/tickets"))"""


@pytest.mark.slow
def test_a_newer_commit_of_the_revision_is_seen_and_taken_in(checkout: Project, hub: Hub) -> None:
    checkout.retrain(SOURCE, command="add")
    assert checkout.run(checkout.python, "-c", SEEN).stdout.splitlines()[-2:] == [hub.branches["main"], ""]
    newer = hub.commit(FILES | {"data/more.csv": b"text,label\nno more of it,refund\n"})
    assert checkout.run(checkout.python, "-c", SEEN).stdout.splitlines()[-2:] == [
        newer,
        "data/raw/tickets.dvc",
    ]
    assert files_in(checkout.root / "data/raw/tickets") == ["data/more.csv", "data/train.csv"]
    assert f"commit: {newer}" in record(checkout)
