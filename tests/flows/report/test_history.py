"""Which run is the last one, what it recorded, and where its rows are."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.ledger.experiments import save
from flows.ledger.history import BEFORE, cached_file, last_run, this_run
from flows.ledger.results import Experiment
from flows.ledger.stages import Ledger
from flows.report.comparison import LastRun
from flows.report.run_report import markdown
from flows.report.summary import Summary, measured
from tasks.shared.params import Params
from tests.support.project import Project, copy_of


@pytest.fixture
def done(computed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the clone in which all stages have been computed and committed."""
    for name, value in computed.env.items():
        if name.startswith("GIT_"):
            monkeypatch.setenv(name, value)
    return copy_of(computed, tmp_path)


def left(project: Project) -> dict[str, str]:
    """Return what a run in place finds of the one before."""
    files = [project.root / "dvc.lock", *(project.root / "metrics").glob("*.json")]
    return {file.relative_to(project.root).as_posix(): file.read_text("utf-8") for file in files}


def edited(project: Project, change: Callable[[str], str]) -> dict[str, str]:
    """Change dvc.lock; return what a run in place would find then."""
    lock = project.root / "dvc.lock"
    lock.write_text(change(lock.read_text("utf-8")), encoding="utf-8")
    return left(project)


def head(project: Project) -> str:
    return project.run("git", "rev-parse", "HEAD").stdout.strip()


def saved(project: Project, name: str, year: int) -> Experiment:
    """Save an experiment that differs from all others, as if in that year."""
    edited(project, lambda text: text + f"# {name}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", f"{year}-01-01T00:00:00Z")
        return save(project.root, name, "a run")


def compared(project: Project, experiment: Experiment) -> str:
    """Return the name of the run that an experiment is compared with."""
    found = last_run(project.root, experiment, {})
    assert found is not None
    return found.name


def test_a_run_in_place_is_compared_with_what_stood_there_before_or_else_with_head(done: Project) -> None:
    same = last_run(done.root, None, left(done))
    assert same is not None
    assert (same.name, same.commit) == (head(done)[:10], head(done)), "what stood there is what HEAD holds"
    assert same.stages == this_run(done.root).stages
    another = last_run(done.root, None, edited(done, lambda text: text + "# an uncommitted run\n"))
    assert another is not None
    assert (another.name, another.commit) == (BEFORE, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("path: data/raw/tickets.csv", "path: data/raw/other.csv"),
        lambda text: text.replace("problem: text_classification", "problem: another"),
        lambda text: re.sub(
            r"(  train:.*?path: data/tokens\n +hash: md5\n +md5: )\w{8}",
            r"\g<1>00000000",
            text,
            count=1,
            flags=re.DOTALL,
        ),
    ],
    ids=["empty", "torn", "other data", "another problem", "of two runs"],
)
def test_what_is_no_whole_run_of_this_model_is_passed_over(
    done: Project, spoil: Callable[[str], str]
) -> None:
    text = left(done)["dvc.lock"]
    assert spoil(text) != text
    found = last_run(done.root, None, {**left(done), "dvc.lock": spoil(text)})
    assert found is not None
    assert found.commit == head(done)


def test_an_isolated_run_is_compared_with_the_newest_experiment_or_a_newer_commit(done: Project) -> None:
    old = saved(done, "old", 2001)
    assert compared(done, old) == head(done)[:10], "there is no other experiment"
    newest, newer = saved(done, "newest", 2091), saved(done, "newer", 2090)
    assert compared(done, newer) == "newest", "not the one that was saved last"
    assert compared(done, newest) == "newer"
    for experiment in (newest, newer):
        done.run("git", "update-ref", "-d", f"refs/exps/{head(done)[:2]}/{head(done)[2:]}/{experiment.name}")
    assert compared(done, saved(done, "now", 2092)) == head(done)[:10], (
        "the commit is newer than the old experiment"
    )


@pytest.mark.parametrize("where", ["in place", "isolated"])
def test_the_last_run_is_found_below_a_commit_of_another_one(done: Project, where: str) -> None:
    trained, mine = head(done), left(done)
    other = edited(done, lambda text: text.replace("path: data/raw/tickets.csv", "path: data/raw/other.csv"))
    done.run("git", "commit", "-qam", "a run on other data")
    (done.root / "dvc.lock").write_text(mine["dvc.lock"] + "# again on the first data\n", encoding="utf-8")
    found = last_run(done.root, save(done.root, "again", "a run") if where == "isolated" else None, other)
    assert found is not None
    assert found.commit == trained


@pytest.mark.parametrize("where", ["in place", "isolated"])
def test_what_was_recorded_before_dvc_lock_was_removed_is_no_last_run(done: Project, where: str) -> None:
    mine = left(done)
    done.run("git", "rm", "-q", "--cached", "dvc.lock")
    done.run("git", "commit", "-qm", "no record in this history")
    found = last_run(done.root, save(done.root, "again", "a run") if where == "isolated" else None, {})
    assert found is None
    done.run("git", "add", "dvc.lock")
    done.run("git", "commit", "-qm", "a record again")
    (done.root / "dvc.lock").write_text(mine["dvc.lock"] + "# once more\n", encoding="utf-8")
    found = last_run(done.root, None, mine)
    assert found is not None
    assert found.commit == head(done)


def test_a_run_in_place_is_compared_with_an_experiment_where_no_commit_holds_one(done: Project) -> None:
    kept = saved(done, "kept", 2091)
    other = edited(done, lambda text: text.replace("path: data/raw/tickets.csv", "path: data/raw/other.csv"))
    done.run("git", "commit", "--amend", "-qam", "a run on other data")
    done.run("git", "checkout", "-q", kept.commit, "--", "dvc.lock")
    found = last_run(done.root, None, other)
    assert found is not None
    assert found.name == "kept"


@pytest.mark.slow
def test_rows_that_left_the_cache_are_said_and_can_be_brought_back(done: Project) -> None:
    record = last_run(done.root, None, left(done))
    assert record is not None
    file = cached_file(Ledger(done.root), record, "data/ingested", "rows.parquet")
    assert file is not None
    assert file.read_bytes() == (done.root / "data/ingested/rows.parquet").read_bytes()
    file.unlink()
    assert cached_file(Ledger(done.root), record, "data/ingested", "rows.parquet") is None
    summary = Summary(
        dict.fromkeys(record.stages, "ran"),
        dict.fromkeys(record.stages, 1.0),
        measured(done.root),
        last_run=LastRun(record.name, record.commit),
    )
    said = markdown(summary, "sly-fox", Params(), done.root / "plots")
    command = re.search(r"`retrain check (\w+) --repair`", said)
    assert command is not None
    done.retrain(command[1], "--repair", command="check")
    assert file.exists()
