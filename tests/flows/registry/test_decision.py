"""What a comparison proves: by the rows, the margin, the looks that were taken, slices and guards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.git.commands import git
from flows.git.remotes import UnreachableError
from flows.ledger.history import Record as Run
from flows.ledger.packages import TakenOut
from flows.registry.candidate import Candidate
from flows.registry.decision import Compared, Decision, Judged, decide, judged
from flows.registry.looks import take
from flows.registry.tags import Assignment, Record
from tasks.shared.errors import InputError
from tasks.shared.markup import plain
from tasks.shared.measured import Measured, write
from tasks.shared.params import Promote
from tasks.shared.statistics import Statistic
from tasks.shared.templates import render
from tests.support.project import ROOT
from tests.support.registry import repository, shared

ROWS = 2000
VERDICT = ROOT / "flows/report/templates/verdict.md.j2"
CHAMPION, CANDIDATE = "sha256:" + "c" * 64, "sha256:" + "a" * 64


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "repository")
    return tmp_path / "repository"


def measured(right: float, rows: int, slices: pl.DataFrame | None = None) -> Measured:
    """Return rows of which the first share is answered right."""
    correct = pl.Series("correct", np.arange(rows) < round(right * rows))
    ids = pl.Series("id", [f"{number:064x}" for number in range(rows)])
    its = {"accuracy": Statistic("accuracy", pl.DataFrame({"correct": correct}))}
    return Measured(ids, its, None, pl.DataFrame() if slices is None else slices)


def compared(folder: Path, mine: Measured, beside: Measured, **more: object) -> Compared:
    folder.mkdir(exist_ok=True)
    write(mine, folder / "candidate.arrow")
    write(beside, folder / "other.arrow")
    headline = {"name": "accuracy", "higher_is_better": True}
    its = {"champion": CHAMPION, "rows": len(mine.ids), "headline": headline, **more}
    return Compared("m", CANDIDATE, Judged.model_validate(its), folder)


@pytest.mark.parametrize(
    ("mine", "verdict"), [(0.9, "better"), (0.7, "worse"), (0.8, "equivalent"), (0.815, "inconclusive")]
)
def test_the_interval_of_the_difference_decides(
    checkout: Path, tmp_path: Path, mine: float, verdict: str
) -> None:
    of = compared(tmp_path / "judge", measured(mine, ROWS), measured(0.8, ROWS))
    found = decide(checkout, of, Promote(margin=0.01))
    assert found.verdict == verdict
    assert found.allows("better") == (verdict == "better")
    assert found.allows("better_or_equivalent") == (verdict in ("better", "equivalent"))
    assert found.evidence["look"] == 1
    assert f"on {ROWS} rows, margin 0.0100, look 1" in found.sentence


@pytest.mark.slow
def test_each_look_asks_for_more(checkout: Path, tmp_path: Path) -> None:
    of = compared(tmp_path / "judge", measured(0.825, ROWS), measured(0.8, ROWS))
    for number in range(200):
        take(checkout, "m", f"sha256:{number:064x}", CHAMPION, measured(0.8, ROWS).ids)
    found = decide(checkout, of, Promote(margin=0.01))
    assert found.evidence["look"] == 201
    assert found.verdict == "inconclusive"
    assert found.evidence["detectable"] > found.evidence["detectable_at_first"]
    assert decide(checkout, of, Promote(margin=0.01)) == found, "the same pair is the same look"


def test_a_decision_is_new_when_it_could_be_made_and_no_other_time(tmp_path: Path) -> None:
    remote = tmp_path / "origin.git"
    mine, theirs = (shared(repository(tmp_path / name), remote) for name in ("mine", "theirs"))
    of = compared(tmp_path / "judge", measured(0.7, ROWS), measured(0.8, ROWS))
    remote.rename(tmp_path / "gone")
    with pytest.raises(UnreachableError):
        decide(mine, of, Promote())
    (tmp_path / "gone").rename(remote)
    assert [decide(checkout, of, Promote()).is_new for checkout in (mine, mine, theirs)] == [
        True,
        False,
        False,
    ]


def test_seeds_may_ask_for_a_larger_margin(checkout: Path, tmp_path: Path) -> None:
    of = compared(tmp_path / "judge", measured(0.85, ROWS), measured(0.8, ROWS))
    assert decide(checkout, of, Promote()).verdict == "better"
    found = decide(checkout, of, Promote(seed_deviation=0.02))
    assert found.verdict == "inconclusive"
    assert found.evidence["margin"] == pytest.approx(1.645 * 2**0.5 * 0.02)
    assert "margin 0.0465 (seeds alone make as much)" in found.sentence


def test_who_does_not_win_on_validation_looks_at_no_test_row(checkout: Path, tmp_path: Path) -> None:
    lost = {"validation": {"rows": 10, "candidate": 0.7, "other": 0.8}}
    of = compared(tmp_path / "judge", measured(0.9, ROWS), measured(0.8, ROWS), **lost)
    assert decide(checkout, of, Promote()).verdict == "lost on validation"
    assert git(checkout, "for-each-ref") == ""


def test_a_slice_that_is_shown_to_be_worse_holds_the_whole(checkout: Path, tmp_path: Path) -> None:
    # better by far in one country, worse by far in another
    country = pl.DataFrame({"country": ["fr"] * 1700 + ["de"] * 300})
    other = measured(0.5, ROWS, country)
    right = np.arange(ROWS) < 1600
    is_right = pl.DataFrame({"correct": right})
    mine = Measured(other.ids, {"accuracy": Statistic("accuracy", is_right)}, None, country)
    turned = pl.DataFrame({"correct": np.concatenate([np.arange(1700) < 700, np.full(300, True)])})
    other = Measured(other.ids, {"accuracy": Statistic("accuracy", turned)}, None, country)
    found = decide(checkout, compared(tmp_path / "judge", mine, other), Promote())
    assert found.verdict == "better"
    assert not found.allows("better")
    assert "worse where country is de (-1.0000 on 300 rows)" in found.held[0]


def test_guards_hold_what_is_better(checkout: Path, tmp_path: Path) -> None:
    unknown = {"unknown_share": {"candidate": 0.3, "other": 0.1}}
    of = compared(tmp_path / "judge", measured(0.9, ROWS), measured(0.8, ROWS), **unknown)
    found = decide(checkout, replace(of, sizes={"candidate": 300.0, "other": 100.0}), Promote())
    assert found.verdict == "better"
    assert not found.allows("better")
    assert [reason.split(" (")[0] for reason in found.held] == [
        "its tokenizer does not know 30.0% of the test rows' tokens instead of 10.0%",
        "its package is too large",
    ]
    assert found.evidence["unknown_share"] == unknown["unknown_share"]


def test_how_long_a_row_takes_is_measured_only_where_that_is_asked_for_and_decides(
    checkout: Path, tmp_path: Path
) -> None:
    asked = []

    def latency() -> dict[str, float]:
        asked.append(1)
        return {"candidate": 30.0, "other": 10.0, "rows": 50}

    rules = Promote(max_latency_ratio=2)
    better = replace(compared(tmp_path / "a", measured(0.9, ROWS), measured(0.8, ROWS)), latency=latency)
    assert decide(checkout, better, Promote()).held == ()
    equal = replace(compared(tmp_path / "b", measured(0.8, ROWS), measured(0.8, ROWS)), latency=latency)
    assert decide(checkout, equal, rules).verdict == "equivalent"
    assert asked == []
    found = decide(checkout, better, rules)
    assert found.held == (
        "it is too slow (30.0 ms for a row instead of 10.0 ms, promote.max_latency_ratio 2)",
    )
    assert found.evidence["milliseconds"] == {"candidate": 30.0, "other": 10.0, "rows": 50}


def test_what_was_measured_for_a_question_is_not_measured_for_the_answer(
    checkout: Path, tmp_path: Path
) -> None:
    slower = iter([10.0, 30.0])

    def latency() -> dict[str, float]:
        return {"candidate": next(slower), "other": 10.0, "rows": 50}

    of = replace(compared(tmp_path / "judge", measured(0.9, ROWS), measured(0.8, ROWS)), latency=latency)
    rules = Promote(max_latency_ratio=2)
    run = Run("sly-fox", "c" * 40, lambda _: None)
    its = Candidate(run, tmp_path, "m", "prod", rules, of, None, None, TakenOut(checkout, run, "m", print))
    assert decide(checkout, its.compared, rules).allows("better")
    assert decide(checkout, its.without_latency().compared, rules).allows("better")
    assert not decide(checkout, its.compared, rules).allows("better"), "it would have been another number"


def test_the_verdict_that_somebody_is_asked_about_has_what_guards_have_seen(
    checkout: Path, tmp_path: Path
) -> None:
    shares = {"unknown_share": {"candidate": 0.01, "other": 0.0}}
    of = compared(tmp_path / "judge", measured(0.9, ROWS), measured(0.8, ROWS), **shares)
    of = replace(of, sizes={"candidate": 120.0, "other": 100.0})
    run = Run("sly-fox", "c" * 40, lambda _: None)
    out = TakenOut(checkout, run, "m", print)
    its = Candidate(run, tmp_path, "m", "prod", Promote(), of, None, None, out)
    shown = render(VERDICT, candidate=its, decision=decide(checkout, of, Promote()), pictures={})
    assert "margin 0.0100, which is of params" in shown
    assert "| unknown share | 0.0100 | 0.0000 |\n| megabytes | 120.0000 | 100.0000 |" in shown


OTHER = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("champion", "package", "head"),
    [
        (CHAMPION, CHAMPION, "m#prod#1"),
        # its tag is GTO's
        (CHAMPION, None, "m#prod#1"),
        # the champion's package was lost when the run began, so the baseline's numbers are there
        (None, CHAMPION, "majority"),
        # somebody else had the stage when the run began
        (OTHER, CHAMPION, "champion bbbbbbbbbb"),
    ],
)
def test_the_table_of_a_question_is_headed_by_what_the_numbers_are_of(
    checkout: Path, tmp_path: Path, champion: str | None, package: str | None, head: str
) -> None:
    numbers = {"candidate": {"accuracy": 0.9}, "other": {"accuracy": 0.8}}
    more = {"champion": champion, "baseline": "majority", **numbers}
    of = compared(tmp_path / "judge", measured(0.9, ROWS), measured(0.8, ROWS), **more)
    run = Run("sly-fox", "c" * 40, lambda _: None)
    against = Assignment(
        "m",
        "prod",
        1,
        is_cancelled=False,
        commit="c" * 40,
        who="Ann",
        when=None,
        record=Record(package=package),
    )
    its = Candidate(
        run, tmp_path, "m", "prod", Promote(), of, against, against, TakenOut(checkout, run, "m", print)
    )
    lost = Decision("not compared", "Not compared with the champion: its package is lost.")
    shown = render(VERDICT, candidate=its, decision=lost, pictures={})
    assert (
        f"| metric | candidate | {plain(head)} |\n|---|---:|---:|\n| `accuracy` | 0.9000 | 0.8000 |" in shown
    )
    size = replace(decide(checkout, of, Promote()), evidence={"megabytes": {"candidate": 2, "other": 1}})
    shown = render(VERDICT, candidate=its, decision=size, pictures={})
    assert f"| | candidate | {plain(head)} |" in shown


def test_what_cannot_be_compared_is_said(checkout: Path, tmp_path: Path) -> None:
    of = compared(tmp_path / "judge", measured(0.9, 20), measured(0.8, 20))
    small = decide(checkout, of, Promote())
    assert small.verdict == "inconclusive"
    assert "would have been seen in 80 % of cases" in small.sentence
    none = Compared("m", CANDIDATE, Judged(champion=CHAMPION, rows=0), tmp_path)
    assert decide(checkout, none, Promote()).verdict == "not compared"
    its = Judged(champion=CHAMPION, rows=0, undefined="recall")
    undefined = decide(checkout, Compared("m", CANDIDATE, its, tmp_path), Promote())
    assert "recall is not defined for both on the test rows" in undefined.sentence
    same = Compared("m", CHAMPION, Judged(champion=CHAMPION, rows=0), tmp_path)
    assert decide(checkout, same, Promote()).verdict == "same"


def test_a_margin_of_nothing_asks_for_any_difference(checkout: Path, tmp_path: Path) -> None:
    of = compared(tmp_path / "judge", measured(0.83, ROWS), measured(0.8, ROWS))
    assert decide(checkout, of, Promote(margin=0)).verdict == "better"
    equal = compared(tmp_path / "equal", measured(0.8, ROWS), measured(0.8, ROWS))
    assert decide(checkout, equal, Promote(margin=0)).verdict == "inconclusive"


@pytest.mark.parametrize("metrics", [{}, {"champion": "../..", "rows": 1}, {"champion": None, "rows": -1}])
def test_what_others_say_was_compared_is_one_sentence(metrics: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"metrics/judge.json: \w+: .*; run `retrain run` again"):
        judged(metrics)
