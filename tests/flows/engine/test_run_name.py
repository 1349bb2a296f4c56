"""Names that somebody gives a run, and refs that somebody else has pushed: neither leads out, neither stops a run."""

import json
import random
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.engine.run_name import LONGEST, safe
from flows.git.commands import git
from flows.git.worktrees import worktree
from flows.ledger.experiments import commit_named, experiments, push, save
from flows.ledger.history import Record
from tests.support.project import environment

RUN, ANOTHER = "0a1b2c3d-0000-4000-8000-000000000000", "deadbeef-0000-4000-8000-000000000000"
NASTY = (
    *(
        "..",
        ".",
        "",
        " ",
        "a/b",
        "/",
        "-x",
        "--help",
        "a.lock",
        ".hidden",
        "@{",
        "@",
        "HEAD.",
        "a..b",
        "a~1",
        "a^",
        "a:b",
    ),
    *(
        "x" * 300,
        "é" * 300,
        "名前",
        "a\nb",
        "a\0b",
        "\ud800",
        "a\u2028b",
        "\x1b[2J",
        "*",
        "$(id)",
        "`id`",
        "a\\b",
        "con ",
        "../../x",
    ),
)
GOOD = {"interval": {"macro_f1": [0.1, 0.9]}, "macro_f1": 0.5}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit, under DVC."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    Repo.init(str(folder)).close()
    (folder / ".gitignore").write_text(".retrain/\n")
    (folder / "dvc.lock").write_text("stages: {}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def drawn(count: int) -> list[str]:
    """Return names of letters that mean something to a shell, to Git or to a file system."""
    letters = "./\\-@{}~^:*?[ \n\t\0ab\u00e9\u2028\u202e'\"$`"
    return ["".join(random.Random(seed).choices(letters, k=1 + seed % 12)) for seed in range(count)]  # noqa: S311


@pytest.mark.parametrize("name", [*NASTY, *drawn(100)], ids=ascii)
def test_a_name_becomes_one_component_of_a_path_and_of_a_ref_that_no_other_run_has(
    name: str, tmp_path: Path
) -> None:
    made = safe(name, RUN)
    assert Path(made).parts == (made,)
    assert made not in (".", "..")
    assert len(made) <= LONGEST + len("-0a1b2c3d")
    assert git(tmp_path, "check-ref-format", f"refs/exps/{made}") == ""
    assert not made.startswith("-")
    assert made == name or made != safe(name, ANOTHER), "a changed name has the id of its run"


def test_a_plain_name_stays_unless_another_run_has_it() -> None:
    assert safe("gifted-owl", RUN) == "gifted-owl"
    assert safe("gifted-owl", RUN, {"gifted-owl"}) == "gifted-owl-0a1b2c3d"
    assert safe("..", RUN) == "0a1b2c3d"
    assert safe(None, RUN) == "0a1b2c3d"


@pytest.mark.parametrize(
    "name", ["..", " ", "a/b", "-x", "a.lock", "x" * 300, "a\0b\n", "../../x"], ids=ascii
)
def test_a_run_of_any_name_is_kept_and_nothing_beside_its_worktree_is_touched(
    name: str, checkout: Path
) -> None:
    precious = checkout / ".retrain" / "precious"
    precious.parent.mkdir()
    precious.write_text("here")
    made = safe(name, RUN)
    with worktree(checkout, made, "HEAD") as folder:
        assert folder.parent == checkout / ".retrain" / "worktrees"
        (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
        saved = save(folder, made, "a run")
    assert [found.name for found in experiments(checkout)] == [saved.name] == [made]
    assert precious.read_text() == "here"
    assert not folder.exists()


def test_refs_that_others_pushed_and_that_are_no_experiments_are_passed_over_and_named(
    checkout: Path,
) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    ours = f"refs/exps/{head[:2]}/{head[2:]}"
    blob = git(checkout, "hash-object", "-w", "--stdin", given="hello")
    git(checkout, "tag", "-a", "-m", "annotated", "tag")
    broken = {
        "refs/exps/short": head,
        "refs/exps/zz/not-a-hash/name": head,
        f"{ours}/a/b": head,
        f"{ours}/-x": head,
        f"{ours}/a\u2028b": head,
        f"{ours}/\u00a0": head,
        f"{ours}/$(touch${{IFS}}x)": head,
        f"{ours}/file": blob,
        f"{ours}/tree": git(checkout, "rev-parse", "HEAD^{tree}"),
        f"{ours}/tagged": git(checkout, "rev-parse", "tag"),
    }
    for ref, commit in {**broken, f"{ours}/good": head}.items():
        git(checkout, "update-ref", ref, commit)
    folder = checkout / ".git" / ours
    (folder / "missing").write_text("12" * 20 + "\n")
    (folder / "junk").write_text("junk\n")
    said: list[str] = []
    found = experiments(checkout, said.append)
    assert [(one.name, one.commit, one.baseline) for one in found] == [("good", head, head)]
    assert len(said) == len(broken) + 1, (
        "each, and the one whose commit is missing; Git passes over junk by itself"
    )
    assert any("refs/exps/short" in line for line in said)
    assert commit_named(checkout, "good") == head
    for line in said:
        # what cannot be typed is only shown
        if "\\" not in line:
            git(checkout, "update-ref", "-d", line.partition(": ")[2].partition(";")[0].strip("'"))
    assert len(experiments(checkout)) == 1
    with worktree(checkout, "run", "HEAD") as work:
        (work / "dvc.lock").write_text("stages: {ingest: {}}\n")
        assert save(work, "run", "a run").is_new


def test_what_waits_to_be_sent_is_sent_though_something_malformed_waits_beside_it(checkout: Path) -> None:
    git(checkout.parent, "init", "-q", "--bare", "hub.git")
    git(checkout, "remote", "add", "origin", str(checkout.parent / "hub.git"))
    git(checkout, "update-ref", "refs/retrain/unsent/short", "HEAD")
    said: list[str] = []
    with worktree(checkout, "run", "HEAD") as folder:
        (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
        saved = save(folder, "run", "a run")
    with Repo(str(checkout)) as repo:
        repo.config["exp"]["auto_push"] = True
        push(repo, checkout, saved, said.append)
    assert "refs/retrain/unsent/short" in said[0]
    assert said[1].startswith("sent experiment run to Git remote")


@pytest.mark.parametrize(
    "measured",
    [
        "[]",
        "[" * 100_000,
        "{",
        "null",
        json.dumps({"interval": 1}),
        json.dumps({"interval": {"macro_f1": "high"}, "macro_f1": 0.5}),
        json.dumps({"interval": {"macro_f1": [0.1, 0.9]}}),
        json.dumps({"interval": {"macro_f1": [0.1, "x"]}, "macro_f1": 0.5}),
        json.dumps({**GOOD, "macro_f1": True}),
        '{"interval": {"macro_f1": [0, NaN]}, "macro_f1": 1}',
    ],
    ids=lambda text: text[:40],
)
def test_an_experiment_whose_record_is_malformed_is_no_last_run(measured: str) -> None:
    outs = [{"path": path, "md5": "0" * 32} for path in ("data/ingested", "data/splits")]
    lock = {"schema": "2.0", "stages": {"ingest": {"cmd": "x", "outs": outs}}}

    def record(scores: str, counts: str = "{}", params: object = None) -> Record:
        files = {"dvc.lock": json.dumps(lock), "metrics/evaluate.json": scores, "metrics/ingest.json": counts}
        return Record("theirs", "0" * 40, files.get)

    assert record(json.dumps(GOOD)).is_complete()
    assert not record(measured).is_complete()
    assert not record(json.dumps(GOOD), counts='{"labels": {"a": "many"}}').is_complete()
    for deep in ("[" * 100_000, "- " * 100_000, "{a: " * 100_000, "a: &a [x]\nb: *a\n", "\0", "a: b: c"):
        assert Record("theirs", None, {"dvc.lock": deep}.get).stages == {}
