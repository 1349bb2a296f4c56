"""The report of a sweep: its table, its pictures, what others have written shown as just that, and what to do next."""

from pathlib import Path
from typing import Any

import pytest

from flows.report.artifacts import pictures
from flows.report.sweep import TEMPLATE, show
from flows.report.sweep_pictures import pictures as drawings
from flows.sweeps.results import Sweep, Tried, shown
from tasks.shared.pictures import save
from tasks.shared.templates import render

SEARCH = (
    "train.learning_rate=1e-06:0.001:log",
    "model.name=a,b|<img src=x>$1$2",
    "train.num_train_epochs=3.0,5.0",
)


def tried(number: int, **how: Any) -> Tried:
    params = {
        "train.learning_rate": 10.0 ** (-6 + number),
        "model.name": "a" if number % 2 else "b|<img src=x>$1$2",
        "train.num_train_epochs": 3.0 if number < 2 else 5.0,
    }
    done = {"score": 0.5 + number / 10, "experiment": f"shades-{number}", "commit": "0" * 40, "seconds": 31.2}
    return Tried(number, params=params, **({"state": "done", **done} | how))


@pytest.fixture
def sweep() -> Sweep:
    failed = tried(
        3, state="failed", score=None, experiment=None, why="it diverged: `loss` is <b>nan</b>", seconds=2.0
    )
    pruned = tried(4, state="pruned", score=None, experiment=None, why="it is worse", curve=[0.1, 0.2])
    its = [tried(0, curve=[0.3, 0.5]), tried(1), tried(2), failed, pruned]
    return Sweep("shades", "macro_f1", True, 5, SEARCH, its, {"train.learning_rate": 0.9, "model.name": 0.1})


def test_the_report_has_each_trial_the_best_and_what_to_do_next(sweep: Sweep, tmp_path: Path) -> None:
    save(drawings(sweep), tmp_path)
    drawn = pictures(tmp_path)
    assert list(drawn) == ["history", "importance", "learning curves", "slices"]
    document = render(TEMPLATE, sweep=sweep, shown=shown, pictures=drawn)
    rows = [line for line in document.splitlines() if line.startswith("| ")]
    assert rows[1] == r"| 0 | 1e-6 | b\|\<img src\=x\>\$1\$2 | 3 | 0.5000 | 31.2 | shades-0 |"
    assert rows[3].endswith("| 0.7000 **best** | 31.2 | shades-2 |")
    assert "| failed | 2.0 |  |" in rows[4]
    assert "| pruned | 31.2 |  |" in rows[5]
    assert "- Trial 4 pruned: it is worse" in document
    assert r"- Trial 3 failed: it diverged\: \`loss\` is \<b\>nan\<\/b\>" in document
    assert "![slices](data:image/png;base64," in document
    assert "<img" not in document.replace(r"\<img", "")
    assert sweep.sentence == (
        "3 of 5 trials done, 1 pruned, 1 failed; the best has macro_f1 0.7000 on validation: "
        "train.learning_rate 0.0001, model.name b|<img src=x>$1$2, train.num_train_epochs 5 "
        "(trial 2, experiment shades-2)"
    )
    assert sweep.todo.endswith("in one look: `retrain promote shades-2`")


def test_a_sweep_without_a_score_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = tried(0, state="failed", score=None, experiment=None, why="no")
    none = Sweep("shades", "score", True, 1, SEARCH, [failed])
    assert not drawings(none)
    assert "none has a score" in render(TEMPLATE, sweep=none, shown=shown, pictures={})
    show(none)
    told = capsys.readouterr().out
    assert "failed" in told
    assert "0 of 1 trials done, 1 failed; none has a score." in told
