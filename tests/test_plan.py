"""`retrain plan`: what a run would do and why, found out without touching anything."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.ledger import Ledger
from tasks.files import sha256
from tests.conftest import Project, copy_of

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package")
OTHER = "0.001"  # a learning rate that has been computed too, before the one in params.yaml


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, computed: Project) -> Project:
    """A clone in which DVC has run the last three stages with the other learning rate too, and stands at its own again."""
    made = copy_of(computed, tmp_path_factory.mktemp("plan"))
    params = made.root / "params.yaml"
    mine = params.read_text("utf-8")
    params.write_text(mine.replace("learning_rate: 0.0002", f"learning_rate: {OTHER}"), encoding="utf-8")
    assert made.dvc("repro").stdout.count("Running stage") == 3
    made.run("git", "checkout", "-q", ".")
    made.dvc("checkout")
    return made


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A copy of that clone, cache and all, to change at will."""
    return copy_of(trained, tmp_path)


def plan(project: Project, *words: str) -> dict[str, Any]:
    """Run `retrain plan --json` and return its stages by name."""
    read: dict[str, Any] = json.loads(project.retrain("--json", *words, command="plan").stdout)
    return read | {stage["stage"]: stage for stage in read["stages"]}


def fates(planned: dict[str, Any]) -> list[str]:
    return [stage["fate"] for stage in planned["stages"]]


def texts(planned: dict[str, Any], stage: str) -> list[str]:
    return [reason["text"] for reason in planned[stage]["reasons"]]


def tree(project: Project) -> dict[str, str]:
    """Return the digest, mode and time of every file in the clone, those of Git and DVC too."""
    files = [path for path in project.root.rglob("*") if path.is_file()]
    return {str(path): f"{sha256(path)} {path.stat().st_mode:o} {path.stat().st_mtime_ns}" for path in files}


def rewrite(file: Path, old: str, new: str) -> None:
    """Change a file that may be read-only."""
    text = file.read_text("utf-8")
    assert old in text
    file.unlink()
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def remove(project: Project, *paths: str) -> None:
    for path in paths:
        shutil.rmtree(project.root / path)


def test_nothing_has_changed(project: Project) -> None:
    done = project.retrain("--exit-code", command="plan")
    assert [line.split() for line in done.stdout.splitlines()[1:7]] == [[name, "unchanged"] for name in STAGES]
    assert done.stdout.endswith("nothing to do\n")
    assert "\x1b" not in done.stdout
    planned = plan(project)
    assert fates(planned) == ["unchanged"] * 6
    assert (planned["to_run"], planned["to_restore"], planned["notes"]) == ([], [], [])


def test_a_changed_param_is_shown_with_its_old_and_new_value_and_params_yaml_is_left_alone(project: Project) -> None:
    before = tree(project)
    planned = plan(project, "--train.learning-rate", "1e-4", "--train.early_stopping_patience", "3")
    assert fates(planned) == ["unchanged"] * 3 + ["stale"] * 3
    rate, patience = planned["train"]["reasons"]
    assert (rate["kind"], rate["name"], rate["old"], rate["new"]) == ("param", "train.learning_rate", 0.0002, 0.0001)
    assert rate["text"] == "train.learning_rate 0.0002 -> 0.0001"
    assert patience["text"] == "train.early_stopping_patience none -> 3"
    assert "its input models/checkpoint will be made anew by train" in texts(planned, "evaluate")
    assert tree(project) == before, "nothing at all is written"


def test_options_a_file_and_params_yaml_plan_the_same(project: Project, tmp_path: Path) -> None:
    by_option = plan(project, "--tokenize.max_length", "64")
    (tmp_path / "some.yaml").write_text("tokenize:\n  max_length: 64\n", encoding="utf-8")
    assert plan(project, "--params", str(tmp_path / "some.yaml")) == by_option
    rewrite(project.root / "params.yaml", "max_length: 128", "max_length: 64")
    assert plan(project) == by_option
    assert fates(by_option) == ["unchanged", "unchanged", *["stale"] * 4]


def test_what_was_computed_before_is_restored_through_a_chain_of_stages(project: Project) -> None:
    planned = plan(project, "--train.learning-rate", OTHER)
    assert fates(planned) == ["unchanged"] * 3 + ["restorable"] * 3
    assert any("its input models/checkpoint will be restored by train with other content (" in text for text in texts(planned, "evaluate"))
    assert project.retrain("--train.learning-rate", OTHER, command="plan").stdout.endswith("\n3 stages to restore\n")
    project.retrain("--exit-code", "--train.learning-rate", OTHER, command="plan")
    rewrite(project.root / "params.yaml", "learning_rate: 0.0002", f"learning_rate: {OTHER}")
    assert "Running stage" not in project.dvc("repro").stdout
    assert fates(plan(project)) == ["unchanged"] * 6


def settled(project: Project, names: Sequence[str]) -> list[str]:
    """Settle stages as the flow does, up to the first that has to run."""

    class Ran(Exception):  # noqa: N818
        pass

    def run() -> None:
        raise Ran

    found: list[str] = []
    with chdir(project.root):
        ledger = Ledger(project.root)
        for name in names:
            try:
                outcome = ledger.settle(name, run)
            except Ran:
                return [*found, "stale"]
            found.append(str(outcome))
    return found


@pytest.mark.parametrize("rate", ["0.0003", OTHER])
def test_the_plan_is_what_a_run_does(project: Project, rate: str) -> None:
    rewrite(project.root / "params.yaml", "learning_rate: 0.0002", f"learning_rate: {rate}")
    remove(project, "data/tokens", "models/checkpoint")
    planned = ["restored" if fate == "restorable" else fate for fate in fates(plan(project))]
    assert planned == ["unchanged", "unchanged", "restored", *(["restored"] * 3 if rate == OTHER else ["stale"] * 3)]
    done = settled(project, STAGES)
    assert done == planned[: len(done)]
    assert len(done) == (6 if rate == OTHER else 4)


def test_a_changed_module_is_named(project: Project) -> None:
    file = project.root / "tasks/figures.py"
    file.write_text(file.read_text("utf-8") + "# changed\n", encoding="utf-8")
    planned = plan(project)
    assert planned["to_run"] == ["evaluate", "package"]
    (reason,) = planned["evaluate"]["reasons"]
    assert (reason["kind"], reason["name"]) == ("file", "tasks/figures.py")
    assert reason["text"] == f"tasks/figures.py changed ({reason['old']} -> {reason['new']})"
    assert len(reason["old"]) == len(reason["new"]) == 7


def test_a_changed_pin_is_shown_with_its_old_and_new_version(project: Project) -> None:
    rewrite(project.root / "pins.yaml", 'scipy: "1.17.1"', 'scipy: "1.18.0"')
    planned = plan(project)
    assert planned["to_run"] == ["evaluate", "package"]
    assert texts(planned, "evaluate") == ["pinned scipy 1.17.1 -> 1.18.0"]
    assert planned["evaluate"]["reasons"][0]["kind"] == "pin"


def test_changed_data_makes_all_that_follows_stale(project: Project) -> None:
    csv = project.root / "data/raw/tickets.csv"
    csv.write_text(csv.read_text("utf-8") + "is the moss rug washable,product_question,2026-11-01T10:00:00Z\n", encoding="utf-8")
    planned = plan(project)
    assert planned["to_run"] == list(STAGES)
    assert texts(planned, "ingest")[0].startswith("its input data/raw/tickets.csv changed (")
    assert texts(planned, "split") == ["its input data/ingested will be made anew by ingest"]


def test_an_edited_or_removed_output_is_restored_and_nothing_after_it(project: Project) -> None:
    file = min((project.root / "data/splits").iterdir())
    file.unlink()
    file.write_text("edited", encoding="utf-8")
    remove(project, "models/checkpoint")
    metrics = project.root / "metrics/ingest.json"
    metrics.write_text("{}", encoding="utf-8")
    before = tree(project)
    planned = plan(project)
    assert fates(planned) == ["restorable", "restorable", "unchanged", "restorable", "unchanged", "unchanged"]
    assert texts(planned, "ingest") == ["its output metrics/ingest.json was changed"]
    assert texts(planned, "split") == ["its output data/splits was changed"]
    assert texts(planned, "train") == ["its output models/checkpoint is missing"]
    assert tree(project) == before
    assert settled(project, STAGES) == ["restored", "restored", "unchanged", "restored", "unchanged", "unchanged"]


def test_an_isolated_run_starts_from_the_cache_not_from_the_folders_here(project: Project) -> None:
    remove(project, "models/checkpoint", "data/splits")
    (project.root / "data/splits").mkdir()
    before = tree(project)
    assert fates(plan(project, "--isolated")) == ["unchanged"] * 6
    assert fates(plan(project, "--isolated", "--train.learning-rate", OTHER)) == ["unchanged"] * 3 + ["restorable"] * 3
    assert tree(project) == before
    remove(project, ".dvc/cache/files")
    planned = plan(project, "--isolated")
    assert fates(planned) == ["stale"] * 6
    assert texts(planned, "ingest") == ["its output data/ingested is not in the DVC cache"]


def test_a_damaged_cache_object_is_seen_and_left_where_it_is(project: Project) -> None:
    stages = YAML(typ="safe").load((project.root / "dvc.lock").read_text("utf-8"))["stages"]
    (identity,) = [output["md5"] for output in stages["split"]["outs"] if output["path"] == "data/splits"]
    files = project.root / ".dvc/cache/files/md5"
    part = json.loads((files / identity[:2] / identity[2:]).read_text("utf-8"))[0]["md5"]
    held = files / part[:2] / part[2:]
    held.chmod(0o644)
    held.write_bytes(b"damaged")
    planned = plan(project)
    assert texts(planned, "split") == ["its output data/splits is not in the DVC cache"]
    assert planned["split"]["fate"] == "stale"
    assert held.read_bytes() == b"damaged"


def test_what_dvc_lock_does_not_name_was_never_computed_here_unless_the_cache_has_it(project: Project) -> None:
    (project.root / "dvc.lock").unlink()
    planned = plan(project)
    assert fates(planned) == ["restorable"] * 6
    assert texts(planned, "train") == ["not in dvc.lock yet, though computed before"]
    remove(project, ".dvc/cache/runs")
    planned = plan(project)
    assert fates(planned) == ["stale"] * 6
    assert {text for name in STAGES for text in texts(planned, name)} == {"never computed here"}


def test_a_torn_dvc_lock_is_planned_as_a_run_would_mend_it_and_left_torn(project: Project) -> None:
    lock = project.root / "dvc.lock"
    whole = lock.read_text("utf-8")
    lock.write_text("", encoding="utf-8")
    assert fates(plan(project)) == ["restorable"] * 6
    (project.root / ".retrain").mkdir(exist_ok=True)
    (project.root / ".retrain/dvc.lock.before").write_text(whole, encoding="utf-8")
    assert fates(plan(project)) == ["unchanged"] * 6
    assert lock.read_text("utf-8") == ""


def test_data_from_outside_is_not_brought_in_and_what_it_would_be_is_said(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "outside.csv"
    shutil.copy(project.root / "data/raw/tickets.csv", source)
    before = tree(project)
    planned = plan(project, "--data.path", "../outside.csv")
    assert planned["notes"] == [f"{source} would be brought in as data/raw/outside.csv first"]
    assert "data.path data/raw/tickets.csv -> data/raw/outside.csv" in texts(planned, "ingest")
    assert planned["to_run"] == list(STAGES)
    url = "https://example.org/new.csv"
    assert f"its input data/raw/new.csv would be brought in from {url}; what is in it is known only then" in texts(
        plan(project, "--data.path", url), "ingest"
    )
    source.rename(tmp_path / "tickets.csv")
    refused = project.retrain("--data.path", "../tickets.csv", command="plan", status=2).stderr
    assert "data/raw/tickets.csv exists already; choose another name" in refused
    assert tree(project) == before


def test_data_under_dvc_that_is_not_checked_out_is_known_by_its_record(project: Project, tmp_path: Path) -> None:
    shutil.copy(project.root / "data/raw/tickets.csv", tmp_path / "mine.csv")
    project.retrain("../mine.csv", command="add")
    rewrite(project.root / "params.yaml", "path: data/raw/tickets.csv", "path: data/raw/mine.csv")
    project.dvc("repro", "ingest")
    (project.root / "data/raw/mine.csv").unlink()
    planned = plan(project)
    assert planned["ingest"]["fate"] == "restorable"
    assert texts(planned, "ingest") == ["its input data/raw/mine.csv is not checked out"]
    assert plan(project, "--isolated")["ingest"]["fate"] == "unchanged"
    again = plan(project, "--data.path", "../mine.csv")
    assert again["ingest"]["fate"] == "unchanged", "what would be brought in is what is there already"
    assert again["notes"]


def test_times_are_those_of_the_last_run_and_are_summed_up(project: Project) -> None:
    (project.root / ".retrain").mkdir(exist_ok=True)
    (project.root / ".retrain/seconds.json").write_text(json.dumps({"train": 90.04, "evaluate": 5.0, "ingest": 3}), encoding="utf-8")
    words = ("--train.learning-rate", "1e-4")
    assert plan(project, *words)["seconds"] == pytest.approx(95.04)
    shown = project.retrain(*words, command="plan", status=0).stdout
    assert shown.endswith("3 stages to run, about 95 s, time not known of package\n")
    assert "90.0" in shown
    project.retrain("--exit-code", *words, command="plan", status=1)


def test_wrong_input_is_one_sentence(project: Project) -> None:
    assert (
        "error: data.path: there is no file or folder 'nowhere.csv'" in project.retrain("--data.path", "nowhere.csv", command="plan", status=2).stderr
    )
    assert "greater than 0" in project.retrain("--train.learning_rate", "-1", command="plan", status=2).stderr


def test_no_heavy_library_is_imported(project: Project) -> None:
    program = (
        "import sys\nfrom flows.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'torch', 'transformers', 'prefect'} & set(sys.modules)))"
    )
    done = project.run(sys.executable, "-c", program, "plan", "--train.learning-rate", "1e-4")
    assert done.stdout.splitlines()[-1] == "[]"
    assert os.fspath(project.root) not in done.stderr
