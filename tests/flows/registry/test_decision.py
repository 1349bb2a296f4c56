"""What a comparison proves: by the rows, the margin, the looks that were taken, slices and guards."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.git.commands import git
from flows.registry.decision import Compared, Judged, decide, judged
from flows.registry.looks import take
from tasks.shared.errors import InputError
from tasks.shared.measured import Measured, write
from tasks.shared.params import Promote
from tasks.shared.statistics import Statistic

ROWS = 2000
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


def test_each_look_asks_for_more(checkout: Path, tmp_path: Path) -> None:
    of = compared(tmp_path / "judge", measured(0.825, ROWS), measured(0.8, ROWS))
    for number in range(200):
        take(checkout, "m", f"sha256:{number:064x}", CHAMPION, measured(0.8, ROWS).ids)
    found = decide(checkout, of, Promote(margin=0.01))
    assert found.evidence["look"] == 201
    assert found.verdict == "inconclusive"
    assert found.evidence["detectable"] > found.evidence["detectable_at_first"]
    assert decide(checkout, of, Promote(margin=0.01)) == found, "the same pair is the same look"


def test_seeds_may_ask_for_a_larger_margin(checkout: Path, tmp_path: Path) -> None:
    of = compared(tmp_path / "judge", measured(0.85, ROWS), measured(0.8, ROWS))
    assert decide(checkout, of, Promote()).verdict == "better"
    found = decide(checkout, of, Promote(seed_deviation=0.02))
    assert found.verdict == "inconclusive"
    assert found.evidence["margin"] == pytest.approx(1.645 * 2**0.5 * 0.02)


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
    rise = {"candidate": {"calibration_error": 0.3}, "other": {"calibration_error": 0.1}}
    of = compared(tmp_path / "judge", measured(0.9, ROWS), measured(0.8, ROWS), **rise)
    of = Compared(of.name, of.digest, of.judged, of.folder, {"candidate": 300.0, "other": 100.0})
    found = decide(checkout, of, Promote())
    assert [reason.split(" (")[0] for reason in found.held] == [
        "its calibration error rises by 0.2000, more than promote.max_calibration_rise 0.05",
        "its package is too large",
    ]


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
