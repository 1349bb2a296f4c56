"""A training whose scores on validation are out of bounds ends, and leaves no checkpoint."""

from pathlib import Path

import pytest
from prefect.logging import disable_run_logger
from pydantic import ValidationError

from flows.engine import pruning
from flows.engine.processes import Processes
from flows.engine.pruning import Bounds, PrunedError, forget, out_of_bounds
from flows.engine.stage import show_running
from tasks.shared.locks import alone

TRAINING = """
import signal, sys, time
from pathlib import Path
from tasks.shared import progress

kept = Path(".retrain/checkpoints/0123456789abcdef/checkpoint-2")

def end(*_):
    progress.keeping()
    kept.mkdir(parents=True)
    Path("asked").write_text("to end")
    progress.kept(2)
    sys.exit(143)

signal.signal(signal.SIGTERM, end)
progress.keeps_in(kept.parent)
progress.evaluated([{"step": 1, "f1": 0.1}], 4)
progress.evaluated([{"step": 1, "f1": 0.1}, {"step": 2, "f1": 0.2}], 4)
time.sleep(600)
"""


def scores(*curve: float) -> list[dict[str, float]]:
    return [{"step": step, "loss": 1.0, "f1": score} for step, score in enumerate(curve, 1)]


@pytest.mark.parametrize(
    ("reach", "curve", "ends"),
    [
        ([None, 0.5], (0.1,), None),
        ([None, 0.5], (0.1, 0.4, 0.9), 2),
        ([None, 0.5], (0.1, 0.5, 0.1), None),
        # the best one counts
        ([None, 0.5, 0.5], (0.6, 0.1, 0.1, 0.1), None),
        # more evaluations than others have had
        ([0.0], (0.1, 0.1, 0.1), None),
        # what is over anyway is not ended
        ([None, None, 0.5], (0.1, 0.1, 0.1), None),
        ([None, None, 0.5], (0.1, 0.1, 0.1, 0.9), 3),
    ],
)
def test_the_best_score_so_far_is_held_against_the_bound(
    reach: list[float | None], curve: tuple[float, ...], ends: int | None
) -> None:
    found = out_of_bounds(
        Bounds(metric="f1", higher_is_better=True, reach=reach), scores(*curve), steps=max(3, len(curve))
    )
    assert (None if found is None else len(found.curve)) == ends


def test_where_less_is_better_and_where_there_is_no_score() -> None:
    bounds = Bounds(metric="f1", higher_is_better=False, reach=[0.5])
    found = out_of_bounds(bounds, scores(0.7, 0.1), steps=2)
    assert found is not None
    assert found.sentence == (
        "the best f1 on validation until evaluation 1, step 1 of 2, is 0.7000; half of the trials before it "
        "had reached 0.5000 by then"
    )
    assert out_of_bounds(bounds, scores(0.3, 0.9), steps=2) is None
    assert (
        out_of_bounds(Bounds(metric="rouge", higher_is_better=True, reach=[0.5]), scores(0.7, 0.1), steps=2)
        is None
    )


def test_bounds_are_numbers() -> None:
    right = {"metric": "f1", "higher_is_better": True, "reach": [None, 1.0]}
    Bounds.model_validate(right)
    for wrong in ({"reach": [float("nan")]}, {"least": [1]}, {"metric": None}):
        with pytest.raises(ValidationError):
            Bounds.model_validate(right | wrong)


def test_a_training_that_is_pruned_is_asked_to_end_and_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training.py").write_text(TRAINING)
    bounds = Bounds(metric="f1", higher_is_better=True, reach=[None, 0.3])
    # there is no server here
    monkeypatch.setattr(pruning, "create_table_artifact", lambda *_, **__: None)
    others = tmp_path / ".retrain/checkpoints/fedcba9876543210"
    others.mkdir(parents=True)
    with (
        disable_run_logger(),
        Processes(tmp_path) as processes,
        pytest.raises(PrunedError, match="step 2 of"),
    ):
        show_running("train", "exec python -m training", processes, bounds)
    assert (tmp_path / "asked").exists()
    assert [path for path in others.parent.iterdir() if path.is_dir()] == [others]


def test_checkpoints_that_an_equal_training_goes_on_from_stay(tmp_path: Path) -> None:
    checkpoints = tmp_path / "0123456789abcdef"
    checkpoints.mkdir()
    with alone(tmp_path / "0123456789abcdef.lock"):
        forget(checkpoints)
        assert checkpoints.exists()
    forget(checkpoints)
    assert not checkpoints.exists()
