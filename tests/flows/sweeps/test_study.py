"""The study of a sweep: the same trials however often it is killed, none lost, none twice; a failed one is told."""

import itertools
import math
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from flows.engine.pruning import Bounds, out_of_bounds
from flows.sweeps import database
from flows.sweeps.asked import Asked, asked
from flows.sweeps.database import ADDRESS, alone
from flows.sweeps.results import Sweep
from flows.sweeps.study import METRIC, Study
from tasks.shared.errors import InputError
from tasks.shared.params_file import Layer
from tests.support.postgresql import PASSWORD, PROGRAMS, postgresql

SEARCH = ("lr=1e-6:1e-3:log", "epochs=3,5", "train.warmup_steps=0:0.5")
KNOWN: Any = {"experiment": "kept", "commit": "0" * 40, "seconds": 1.0}


def made(*search: str, **train: Any) -> Asked:
    return asked(search or SEARCH, "tried", Layer("params.yaml", {"train": train}))


def opened(checkout: Path, of: Asked, trials: int = 20) -> Study:
    study = Study(checkout, of.name, of.space)
    study.begin(of.to_dict(), of.params, trials)
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


@pytest.mark.slow
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
    study = opened(tmp_path, made("lr=1e-4,2e-4", "epochs=3,5"), 4)
    tried = [study.params(study.begin_next()) for _ in range(4)]
    assert tried[0] == {"train.learning_rate": 2e-4, "train.num_train_epochs": 5.0}
    assert len({tuple(params.values()) for params in tried}) == 4


def begun(checkout: Path, trials: int, of: Asked) -> list[dict[str, Any]]:
    """Begin as many trials as a sweep is to have; return what all of them try."""
    study = Study(checkout, of.name, of.space)
    budget = study.begin(of.to_dict(), of.params, trials)
    while study.count() < budget:
        study.begin_next()
    return [dict(trial.params) for trial in study.result(trials).tried]


def test_of_more_choices_than_trials_some_are_drawn_and_more_trials_complete_them(tmp_path: Path) -> None:
    of = made("lr=1e-4,2e-4,3e-4,4e-4", "epochs=3,5,7,9")
    few = begun(tmp_path, 6, of)
    assert few[0] == {"train.learning_rate": 2e-4, "train.num_train_epochs": 5.0}
    assert len({*map(str, few)}) == 6, "none twice"
    assert {some["train.learning_rate"] for some in few} > {1e-4, 2e-4}, "not the first of the grid"
    more = begun(tmp_path, 100, of)
    assert more[:6] == few
    assert len(more) == len({*map(str, more)}) == 16


def test_of_whole_numbers_each_is_tried_once_where_there_are_no_more_of_them(tmp_path: Path) -> None:
    found = begun(tmp_path, 20, made("gradient_accumulation_steps=1:4"))
    assert sorted(some["train.gradient_accumulation_steps"] for some in found) == [1, 2, 3, 4]


def test_where_the_present_values_are_not_all_searched_no_trial_is_too_many(tmp_path: Path) -> None:
    search = ("lr=1e-4,2e-4", "epochs=3,5")
    few = begun(tmp_path / "few", 3, made(*search, num_train_epochs=4))
    assert few[0]["train.learning_rate"] == 2e-4, "what of them is searched comes first"
    assert len(begun(tmp_path / "all", 4, made(*search, num_train_epochs=4))) == 4


class Killed(BaseException):
    """A kill: nothing is done after it."""


@pytest.mark.slow
def test_a_trial_that_is_killed_while_it_begins_has_all_its_values_or_none(tmp_path: Path) -> None:
    of = made()
    swept(tmp_path / "plain", 12, of)
    expected = [study.params(study.begin_next()) for study in [opened(copied(tmp_path, "expected"), of)]]
    for after in itertools.count():
        folder, left = copied(tmp_path, f"killed-{after}"), [after]
        study = opened(folder, of)

        def kill(*told: Any, left: list[int] = left) -> None:
            is_read = str(told[2]).lstrip().startswith("SELECT")
            left[0] -= not is_read
            if left[0] < 0:
                raise Killed

        event.listen(Engine, "before_cursor_execute", kill)
        try:
            study.begin_next()
        except Killed:
            pass
        else:
            break
        finally:
            event.remove(Engine, "before_cursor_execute", kill)
        again = opened(folder, of)
        number = (again.under_way() or [again.begin_next()])[0]
        assert number == 12
        assert [again.params(number)] == expected
        assert again.count() == 13
    assert after > len(SEARCH), "statements between which it was killed"


def copied(folder: Path, name: str) -> Path:
    """Return a checkout with a copy of the sweep in `plain`."""
    return shutil.copytree(folder / "plain", folder / name)


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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_sweep_that_may_not_be_alone_any_more_begins_nothing(tmp_path: Path) -> None:
    def lost() -> None:
        raise InputError("lost")

    study = Study(tmp_path, "tried", made().space, lost)
    study.begin(made().to_dict(), made().params, 20)
    with pytest.raises(InputError, match="lost"):
        study.begin_next()
    assert study.count() == 0


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
        monkeypatch.setenv(ADDRESS, url)
        with pytest.raises(InputError, match=rf"^{ADDRESS}: ") as error:
            opened(tmp_path, made())
        assert "hidden" not in str(error.value)


def test_a_record_that_another_holds_is_waited_for_and_never_to_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.1)
    opened(tmp_path, made())
    with sqlite3.connect(tmp_path / ".retrain/sweeps/tried.sqlite3") as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=r"database is locked; another process has it; wait ") as error:
            opened(tmp_path, made())
    assert "remove" not in str(error.value)


def test_a_record_of_another_optuna_is_said(tmp_path: Path) -> None:
    opened(tmp_path, made())
    with sqlite3.connect(tmp_path / ".retrain/sweeps/tried.sqlite3") as record:
        record.execute("UPDATE alembic_version SET version_num = 'v3.0.0.a'")
    with pytest.raises(
        InputError, match=r"\(set up by optuna [\d.]+\); `optuna storage upgrade --storage "
    ) as error:
        opened(tmp_path, made())
    assert "remove" not in str(error.value)


def test_what_is_no_failure_of_the_database_is_not_taken_for_one(tmp_path: Path) -> None:
    for other in (ImportError("no module"), SQLAlchemyError("of another")):
        with pytest.raises(type(other)), database.in_words(tmp_path, "tried"):
            raise other


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://bob:zq1@wk2@127.0.0.1/x", " has an @ that is not the one before the host; write it as %40"),
        ("postgresql://bob:zq1@wk2:w0rd@db/x", " is no URL of a database; give postgresql://HOST/DATABASE, "),
        ("postgresql://bob:zq1@wk2/w0rd@db/x", " has an @ that is not "),
        ("postgresql://bob:zq1@wk2?w0rd@db/x", " has an @ that is not "),
        ("postgresql://zq1/wk2@db/x", " has an @ that is not "),
        ("bob:zq1", " is no URL of a database; "),
        # where there is no host, it is the password's end
        ("postgresql://bob:zq1@wk2.invalid", ": "),
        ("postgresql://bob:zq1@..wk2/x", ": "),
        ("postgresql://bob:zq1%40wk2@127.0.0.1:1/x", ": connection failed: "),
    ],
)  # fmt: skip
def test_no_part_of_a_password_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    monkeypatch.setenv(ADDRESS, url)
    for use in (lambda: opened(tmp_path, made()), lambda: be_alone(tmp_path, "tried")):
        with pytest.raises(InputError) as error:
            use()
        assert str(error.value).startswith(f"{ADDRESS}{sentence}")
        assert not re.search("zq1|wk2|w0rd|bob", str(error.value))


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL here")
def test_sweeps_are_kept_in_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgresql() as address:
        monkeypatch.setenv(ADDRESS, address)
        found = swept(tmp_path / "one", 4, made(), dies=lambda number: number == 2)
        elsewhere = swept(tmp_path / "another", 4, made())
        assert elsewhere.to_dict() == found.to_dict()
        with alone(tmp_path / "one", "tried"):
            with pytest.raises(InputError, match=r"^sweep 'tried' is under way already; "):
                be_alone(tmp_path / "another", "tried")
            be_alone(tmp_path / "another", "other")
        be_alone(tmp_path / "another", "tried")
        with alone(tmp_path / "one", "tried") as still_alone:
            study = Study(tmp_path / "one", "tried", made().space, still_alone)
            study.begin(made().to_dict(), made().params, 20)
            number = study.begin_next()
            # the server was started again meanwhile
            with create_engine(str(address).replace("asyncpg", "psycopg")).connect() as other:
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                other.execute(text(f"{ended} AND datname = current_database()"))
            tell(study, number)
            assert study.under_way() == []
            be_alone(tmp_path / "another", "tried")
            with pytest.raises(InputError, match="lock of sweep 'tried' is lost, so that another may be "):
                study.begin_next()
        assert study.under_way() == []
        monkeypatch.setenv(ADDRESS, address.replace("+asyncpg", "").replace(PASSWORD, "wrong-one"))
        with pytest.raises(InputError, match="password authentication failed") as error:
            opened(tmp_path, made())
        assert "wrong-one" not in str(error.value)
    assert not [*tmp_path.rglob("*.sqlite3")]
