"""`retrain plan`: what it makes of the state it finds: changed files, damaged and lost outputs, torn records."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.ledger.journal import Journal, write_lock
from tests.support.edits import remove, rewrite
from tests.support.plans import fates, plan, settled, texts, tree
from tests.support.project import Project
from tests.support.stages import STAGES


def test_a_changed_module_is_named(trained: Project) -> None:
    file = trained.root / "tasks/evaluate/figures.py"
    file.write_text(file.read_text("utf-8") + "# changed\n", encoding="utf-8")
    planned = plan(trained)
    assert planned["to_run"] == ["evaluate", "package", "judge"]
    (reason,) = planned["evaluate"]["reasons"]
    assert (reason["kind"], reason["name"]) == ("file", "tasks/evaluate/figures.py")
    assert reason["text"] == f"tasks/evaluate/figures.py changed ({reason['old']} -> {reason['new']})"
    assert len(reason["old"]) == len(reason["new"]) == 7


def test_a_changed_pin_is_shown_with_its_old_and_new_version(trained: Project) -> None:
    rewrite(trained.root / "pins.yaml", 'scipy: "1.17.1"', 'scipy: "1.18.0"')
    planned = plan(trained)
    assert planned["to_run"] == list(STAGES)
    assert texts(planned, "ingest") == ["pinned scipy 1.17.1 -> 1.18.0"]
    assert planned["ingest"]["reasons"][0]["kind"] == "pin"


def test_changed_data_makes_all_that_follows_stale(trained: Project) -> None:
    csv = trained.root / "data/raw/tickets.csv"
    csv.write_text(
        csv.read_text("utf-8") + "is the moss rug washable,product_question,2026-11-01T10:00:00Z\n",
        encoding="utf-8",
    )
    planned = plan(trained)
    assert planned["to_run"] == list(STAGES)
    assert texts(planned, "ingest")[0].startswith("its input data/raw/tickets.csv changed (")
    assert texts(planned, "split") == ["its input data/ingested will be made anew by ingest"]


@pytest.mark.slow
def test_an_edited_or_removed_output_is_restored_and_nothing_after_it(trained: Project) -> None:
    file = min((trained.root / "data/splits").iterdir())
    file.unlink()
    file.write_text("edited", encoding="utf-8")
    remove(trained, "models/checkpoint")
    metrics = trained.root / "metrics/ingest.json"
    metrics.write_text("{}", encoding="utf-8")
    before = tree(trained)
    planned = plan(trained)
    assert fates(planned) == ["restorable", "restorable", "unchanged", "restorable", *["unchanged"] * 3]
    assert texts(planned, "ingest") == ["its output metrics/ingest.json was changed"]
    assert texts(planned, "split") == ["its output data/splits was changed"]
    assert texts(planned, "train") == ["its output models/checkpoint is missing"]
    assert tree(trained) == before
    assert settled(trained) == ["restored", "restored", "unchanged", "restored", *["unchanged"] * 3]


def test_a_damaged_cache_object_is_seen_and_left_where_it_is(trained: Project) -> None:
    stages = YAML(typ="safe").load((trained.root / "dvc.lock").read_text("utf-8"))["stages"]
    (identity,) = [output["md5"] for output in stages["split"]["outs"] if output["path"] == "data/splits"]
    files = trained.root / ".dvc/cache/files/md5"
    part = json.loads((files / identity[:2] / identity[2:]).read_text("utf-8"))[0]["md5"]
    held = files / part[:2] / part[2:]
    held.chmod(0o644)
    held.write_bytes(b"damaged")
    planned = plan(trained)
    assert texts(planned, "split") == ["its output data/splits is not in the DVC cache"]
    assert planned["split"]["fate"] == "restorable", "the checkout has it whole"
    shutil.rmtree(trained.root / "data/splits")
    assert plan(trained)["split"]["fate"] == "stale"
    assert held.read_bytes() == b"damaged"


@pytest.mark.slow
def test_what_dvc_lock_does_not_name_was_never_computed_here_unless_the_cache_has_it(
    trained: Project,
) -> None:
    (trained.root / "dvc.lock").unlink()
    planned = plan(trained)
    assert fates(planned) == ["restorable"] * 7
    assert texts(planned, "train") == ["not in dvc.lock yet, though computed before"]
    remove(trained, ".dvc/cache/runs")
    planned = plan(trained)
    assert fates(planned) == ["stale"] * 7
    assert {text for name in STAGES for text in texts(planned, name)} == {"never computed here"}


@pytest.mark.slow
def test_a_torn_dvc_lock_is_planned_as_a_run_would_set_it_aside_and_what_a_dead_run_left_is_undone_first(
    trained: Project,
) -> None:
    lock = trained.root / "dvc.lock"
    whole = lock.read_text("utf-8")
    lock.write_text("", encoding="utf-8")
    assert fates(plan(trained)) == ["restorable"] * 7
    assert lock.read_text("utf-8") == ""
    lock.write_text(whole, encoding="utf-8")
    Journal.begin(trained.root)
    write_lock(trained.root, "stages: {}\n")
    assert fates(plan(trained)) == ["unchanged"] * 7
    assert lock.read_text("utf-8") == whole


@pytest.mark.slow
def test_data_under_dvc_that_is_not_checked_out_is_known_by_its_record(
    trained: Project, tmp_path: Path
) -> None:
    shutil.copy(trained.root / "data/raw/tickets.csv", tmp_path / "mine.csv")
    trained.retrain("../mine.csv", command="add")
    rewrite(trained.root / "params.yaml", "path: data/raw/tickets.csv", "path: data/raw/mine.csv")
    trained.dvc("repro", "ingest")
    (trained.root / "data/raw/mine.csv").unlink()
    planned = plan(trained)
    assert planned["ingest"]["fate"] == "restorable"
    assert texts(planned, "ingest") == ["its input data/raw/mine.csv is not checked out"]
    assert plan(trained, "--isolated")["ingest"]["fate"] == "unchanged"
    again = plan(trained, "--data.path", "../mine.csv")
    assert again["ingest"]["fate"] == "unchanged", "what would be brought in is what is there already"
    assert again["notes"]
