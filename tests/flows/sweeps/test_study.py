"""The study of a sweep: the same trials however often it is killed, none lost, none twice; a failed one is told."""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from flows.engine.pruning import Bounds, out_of_bounds
from flows.sweeps.asked import Asked, asked
from flows.sweeps.database import URL, alone
from flows.sweeps.results import Sweep
from flows.sweeps.study import METRIC, Study
from tasks.shared.errors import InputError
from tasks.shared.params_file import Layer
from tests.support.postgresql import PASSWORD, PROGRAMS, postgresql

SEARCH = ("lr=1e-6:1e-3:log", "epochs=3,5", "train.warmup_steps=0:0.5")
KNOWN: Any = {"experiment": "kept", "commit": "0" * 40, "seconds": 1.0}


def made(*search: str, **train: Any) -> Asked:
    return asked(search or SEARCH, "tried", Layer("params.yaml", {"train": train}))


def opened(checkout: Path, of: Asked) -> Study:
    study = Study(checkout, of.name, of.space)
    study.begin(of.to_dict(), of.params)
    return study


def tell(study: Study, number: int) -> None:
    """Tell how near the learning rate is to 1e-4, the nearer the better; that trial 4 has failed."""
    if number == 4:
        study.tell_failed(number, "it diverged", seconds=1.0)
        return
    rate = study.params(number)["train.learning_rate"]
    study.agree(METRIC, ["accuracy", True])
    study.tell(number, 1 - abs(math.log10(rate) + 4) / 3, [], **KNOWN)


def be_alone(checkout: Path, name: str) -> None:
    with alone(checkout, name):
        return


def swept(
    checkout: Path, trials: int, of: Asked, dies: Callable[[int], bool] = lambda number: False
) -> Sweep:
    """Return what a sweep finds; it is begun anew, as after a kill, while trials are under way."""
    study = opened(checkout, of)
    while study.count() < trials:
        number = study.begin_next()
        if dies(number):
            study = opened(checkout, of)
            assert study.under_way() == [number]
        params = study.params(number)
        if dies(number):
            study = opened(checkout, of)
            assert study.params(number) == params
        tell(study, number)
    return study.result(trials)


def test_the_same_trials_come_out_whoever_is_killed_and_a_better_one_is_found(tmp_path: Path) -> None:
    of = made(learning_rate=1e-6)
    plain = swept(tmp_path / "plain", 16, of)
    killed = swept(tmp_path / "killed", 16, of, dies=lambda number: number % 3 == 0)
    assert plain.to_dict() == killed.to_dict()
    first, best = plain.tried[0], plain.best
    assert first.params == {
        "train.learning_rate": 1e-6,
        "train.num_train_epochs": 5,
        "train.warmup_steps": 0.1,
    }
    assert best is not None
    assert best.params["train.learning_rate"] > 1e-5
    assert [trial.number for trial in plain.tried] == list(range(16))
    assert [trial.state for trial in plain.tried].count("failed") == 1
    assert plain.tried[4].why == "it diverged"
    assert max(plain.importance, key=lambda param: plain.importance[param]) == "train.learning_rate"
    assert plain.sentence.startswith("15 of 16 trials done, 1 failed; the best has accuracy ")
    assert plain.todo.endswith("`retrain promote kept`")


def test_more_trials_are_added_to_those_that_there_are(tmp_path: Path) -> None:
    few = swept(tmp_path, 5, made())
    more = swept(tmp_path, 8, made())
    assert more.tried[:5] == few.tried
    assert len(more.tried) == 8


def test_of_choices_each_is_tried_once_the_present_one_first(tmp_path: Path) -> None:
    study = opened(tmp_path, made("lr=1e-4,2e-4", "epochs=3,5"))
    tried = [study.params(study.begin_next()) for _ in range(4)]
    assert tried[0] == {"train.learning_rate": 2e-4, "train.num_train_epochs": 5.0}
    assert len({tuple(params.values()) for params in tried}) == 4


def test_where_less_is_better_the_least_is_best(tmp_path: Path) -> None:
    study = opened(tmp_path, made())
    study.agree(METRIC, ["perplexity", False])
    for score in (3.0, 2.0, 4.0):
        number = study.begin_next()
        study.params(number)
        study.tell(number, score, [score + 1, score], **KNOWN)
    found = study.result(3)
    assert found.best is not None
    assert (found.best.number, found.best.score) == (1, 2.0)
    assert found.best.curve == [3.0, 2.0]
    assert study.study.best_trial.number == 1


def curved(study: Study, curve: Sequence[float], *, is_pruned: bool = False) -> None:
    """Have a trial go by a curve."""
    number = study.begin_next()
    study.params(number)
    if is_pruned:
        study.tell_pruned(number, curve, "worse", seconds=1.0)
    else:
        study.tell(number, curve[-1], curve, **KNOWN)


def ends(bounds: Any, curve: Sequence[float]) -> int | None:
    """Return at which evaluation a curve ends by our rule."""
    evaluations = [{"step": step, "macro_f1": score} for step, score in enumerate(curve, 1)]
    its = None if bounds is None else Bounds.model_validate(bounds)
    found = None if its is None else out_of_bounds(its, evaluations, steps=len(curve))
    return None if found is None else len(found.curve)


def ends_by_optuna(study: Study, curve: Sequence[float]) -> int | None:
    """Return at which evaluation a curve ends by Optuna's, beside the same trials."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    theirs = optuna.create_study(direction="maximize", pruner=pruner)
    for one in study.study.get_trials(states=(TrialState.COMPLETE,)):
        theirs.add_trial(create_trial(value=1.0, intermediate_values=one.intermediate_values))
    trial = theirs.ask()
    for step, score in enumerate(curve[:-1], 1):
        trial.report(score, step)
        if trial.should_prune():
            return step
    return None


@pytest.mark.parametrize("higher", [True, False])
def test_trials_are_pruned_as_by_optunas_median_pruner(tmp_path: Path, *, higher: bool) -> None:
    drawn = random.Random(0)  # noqa: S311 (no secret)
    study = opened(tmp_path, made())
    study.agree(METRIC, ["macro_f1", higher])
    pruned = []
    for turn in range(16):
        level = drawn.uniform(0, 1)
        # of unlike lengths, some of which no other has had
        curve = [level + drawn.uniform(0, 0.2) for _ in range(2 + turn % 6)]
        number = study.begin_next()
        bounds = study.bounds(number, 1)
        assert (bounds is None) == (turn < 5)
        end = ends(bounds, curve)
        assert end == ends_by_optuna(study, curve if higher else [-score for score in curve])
        study.params(number)
        if end is None:
            study.tell(number, curve[-1], curve, **KNOWN)
        else:
            pruned.append(number)
            study.tell_pruned(number, curve[:end], "worse", seconds=1.0)
    found = study.result(16)
    assert [trial.number for trial in found.tried if trial.state == "pruned"] == pruned
    assert len(pruned) > 2
    assert f"{16 - len(pruned)} of 16 trials done, {len(pruned)} pruned; " in found.sentence
    assert found.best is not None
    assert found.best.state == "done"


def test_what_a_trial_is_pruned_by_is_decided_when_it_begins(tmp_path: Path) -> None:
    study = opened(tmp_path, made())
    study.agree(METRIC, ["macro_f1", True])
    for score in range(6):
        curved(study, [0.0, float(score)], is_pruned=score == 0)
    first, second = study.begin_next(), study.begin_next()
    its = {"metric": "macro_f1", "higher_is_better": True, "reach": [None, 3.0]}
    assert study.bounds(first, 1) == its, "what was pruned says nothing"
    study.params(first)
    study.tell(first, 9.0, [0.0, 9.0], **KNOWN)
    again = opened(tmp_path, made())
    assert again.under_way() == [second]
    assert again.bounds(first, 1) == its
    # it had not been told yet when it was killed
    reach = again.bounds(second, 1)
    assert reach is not None
    assert reach["reach"] == [None, 3.5]


def test_a_trial_that_was_told_in_part_before_a_kill_is_told_again(tmp_path: Path) -> None:
    study = opened(tmp_path, made())
    study.agree(METRIC, ["macro_f1", True])
    number = study.begin_next()
    study.params(number)
    optuna.Trial(study.study, number + 1).report(0.1, 1)
    again = opened(tmp_path, made())
    again.tell_pruned(number, [0.1, 0.2], "worse", seconds=1.0)
    (tried,) = again.result(1).tried
    assert (tried.state, tried.curve, tried.score) == ("pruned", [0.1, 0.2], None)


def test_a_name_is_of_one_sweep(tmp_path: Path) -> None:
    opened(tmp_path, made())
    opened(tmp_path, made(learning_rate=1e-5))
    with pytest.raises(
        InputError, match=r"begun with something else \(train.max_steps was -1, and is 7 now\)"
    ):
        opened(tmp_path, made(max_steps=7))
    with pytest.raises(
        InputError, match=r"\(it searched train.learning_rate=1e-06:0.001:log, .*another --name"
    ):
        opened(tmp_path, made("lr=1e-6:1e-2:log"))


def test_of_a_name_one_sweep_runs_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path, "tried"):
        with pytest.raises(InputError, match=r"^sweep 'tried' is under way already; "):
            be_alone(tmp_path, "tried")
        be_alone(tmp_path, "other")
    be_alone(tmp_path, "tried")


def test_what_all_trials_have_in_common_is_decided_by_the_first(tmp_path: Path) -> None:
    study = opened(tmp_path, made())
    assert study.agree("held", {"rows": "a"})
    again = opened(tmp_path, made())
    assert again.agree("held", {"rows": "a"})
    assert not again.agree("held", {"rows": "b"})
    assert again.identity == study.identity


def test_a_record_that_is_none_and_a_database_that_is_not_there_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".retrain/sweeps"
    folder.mkdir(parents=True)
    (folder / "tried.sqlite3").write_text("nothing of the kind" * 100)
    with pytest.raises(
        InputError, match=r"tried.sqlite3: file is not a database; remove tried.sqlite3 there"
    ):
        opened(tmp_path, made())
    for url in ("postgresql+psycopg://me:hidden@127.0.0.1:1/none", "postgres://me:hidden@127.0.0.1/none"):
        monkeypatch.setenv(URL, url)
        with pytest.raises(InputError, match=rf"^{URL}: ") as error:
            opened(tmp_path, made())
        assert "hidden" not in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL here")
def test_sweeps_are_kept_in_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgresql() as address:
        monkeypatch.setenv(URL, address)
        found = swept(tmp_path / "one", 4, made(), dies=lambda number: number == 2)
        elsewhere = swept(tmp_path / "another", 4, made())
        assert elsewhere.to_dict() == found.to_dict()
        with alone(tmp_path / "one", "tried"):
            with pytest.raises(InputError, match=r"^sweep 'tried' is under way already; "):
                be_alone(tmp_path / "another", "tried")
            be_alone(tmp_path / "another", "other")
        be_alone(tmp_path / "another", "tried")
        monkeypatch.setenv(URL, address.replace("+asyncpg", "").replace(PASSWORD, "wrong-one"))
        with pytest.raises(InputError, match="password authentication failed") as error:
            opened(tmp_path, made())
        assert "wrong-one" not in str(error.value)
    assert not [*tmp_path.rglob("*.sqlite3")]
