"""The sentences of a report: as sure as the numbers allow, and showing what a row holds, whatever it holds."""

import math
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from flows.ledger.results import READABLE, Experiment, why
from flows.report.certificate import Grade, grade_predictions
from flows.report.changes import Changes, Example
from flows.report.comparison import Since
from flows.report.run_report import _against, _changed, _labels, _scores, _verdict, _warnings
from flows.report.summary import Summary
from tasks.shared.errors import InputError
from tasks.shared.files import write_json
from tasks.shared.verdict import Verdict, judge

NAN = math.nan
NASTY = ["a | b", "<script>alert(1)</script>", "![x](http://x.y/z.png)", "`code` *bold* _it_ [a](b)", "1. # x", "&lt; \\ ~~", "$1 {x} https://a.b"]


def scores(f1: float, low: float, high: float) -> dict[str, object]:
    return {"macro_f1": f1, "interval": {"macro_f1": [low, high]}, "rows": 10, "baselines": {"majority": {"macro_f1": 0.1}}}


def summary(since: Since | None) -> Summary:
    return Summary({"train": "ran"}, {}, {"evaluate": scores(0.6, 0.5, 0.7)}, None, since)


@pytest.mark.parametrize(
    ("last", "test", "says"),
    [
        (
            scores(0.3, 0.2, 0.4),
            Changes(),
            ["**Better than `sly-fox`**", "0.6000 (0.5000 to 0.7000) against 0.3000 (0.2000 to 0.4000)", "the same rows"],
        ),
        (scores(0.9, 0.8, 1.0), Changes(), ["**Worse than `sly-fox`**"]),
        (scores(0.5, 0.4, 0.6), Changes(), ["**Not shown to be better or worse", "overlap"]),
        (scores(0.6, 0.5, 0.7), Changes(), ["**As good as `sly-fox`**"]),
        (scores(0.3, 0.2, 0.4), Changes(2, 1, 0), ["**Better", "different rows: 2 added, 1 removed, 0 relabelled"]),
        (scores(0.3, 0.2, 0.4), None, ["**Better", "is not known"]),
        (scores(NAN, 0.2, 0.4), Changes(), ["**Not comparable with `sly-fox`**"]),
    ],
)
def test_the_verdict_goes_no_further_than_the_intervals_and_the_test_rows(last: dict[str, object], test: Changes | None, says: list[str]) -> None:
    verdict = _against(summary(Since("sly-fox", "c0ffee", scores=last, test=test)))
    assert all(part in verdict for part in says), verdict


@pytest.mark.parametrize(
    ("floors", "says"),
    [
        ({"majority": 0.1, "tfidf_linear": 0.4}, "Better than the tfidf_linear"),
        ({"majority": 0.1, "tfidf_linear": 0.8}, "Worse than the tfidf_linear"),
        ({"majority": 0.7, "tfidf_linear": 0.2}, "Not shown to be better or worse than the majority"),
        ({"majority": 0.5}, "Not shown to be better or worse than the majority"),
        ({"majority": 0.6}, "As good as the majority"),
        ({"majority": 0.1, "tfidf_linear": NAN}, "Better than the majority"),
        ({"tfidf_linear": NAN}, "Not comparable with any"),
        ({}, "Not comparable with any"),
    ],
)
def test_better_or_worse_than_a_baseline_is_what_lies_apart_from_it(floors: dict[str, float], says: str) -> None:
    baselines = {name: {"macro_f1": floor} for name, floor in floors.items()}
    measured = scores(0.6, 0.5, 0.7) | {"baselines": baselines}
    verdict = _verdict(Summary({}, {}, {"evaluate": measured}, None, None))
    assert verdict.startswith(f"**{says} baseline**: macro F1 0.6000 (0.5000 to 0.7000)"), verdict


@pytest.mark.parametrize("at", range(6))
def test_nan_compares_with_nothing(at: int) -> None:
    values = [0.6, 0.5, 0.7, 0.3, 0.2, 0.4]
    assert judge(values[0], values[1:3], values[3], values[4:]) == Verdict.better
    values[at] = NAN
    assert judge(values[0], values[1:3], values[3], values[4:]) == Verdict.incomparable


def test_a_record_without_intervals_holds_no_scores_inside_them(tmp_path: Path) -> None:
    for folder, interval in (("recorded", {}), ("computed", {"macro_f1": [0.5, 0.7]})):
        write_json(tmp_path / folder / "metrics/evaluate.json", scores(0.6, 0.5, 0.7) | {"interval": interval})
    assert grade_predictions(tmp_path / "recorded", tmp_path / "computed") == Grade.different
    assert grade_predictions(tmp_path / "computed", tmp_path / "recorded") == Grade.interval


def test_what_the_stages_warned_of_stands_in_the_report() -> None:
    warned = {"tokenize": {"warnings": ["16.6% are unknown"]}, "train": {"warnings": ["a new head"]}, "evaluate": scores(0.6, 0.5, 0.7)}
    said = _warnings(Summary({"train": "ran"}, {}, warned, None, None))
    assert MarkdownIt().render(said) == ("<p><strong>Warning</strong>: 16.6% are unknown.</p>\n<p><strong>Warning</strong>: a new head.</p>\n")
    assert _warnings(summary(None)) == ""


def test_without_a_last_run_there_is_no_comparison() -> None:
    assert "No earlier run" in _against(summary(None))
    assert _scores(summary(None)).splitlines()[0] == "|  | model | majority |"


def test_scores_stand_beside_the_last_runs_and_the_difference() -> None:
    table = _scores(summary(Since("the run before", scores=scores(0.5, 0.4, 0.55)))).splitlines()
    assert table[0] == "|  | model | the run before | difference | majority |"
    assert table[2] == "| macro_f1 | **0.6000**<br>0.5000 to 0.7000 | 0.5000<br>0.4000 to 0.5500 | +0.1000 | 0.1000 |"


def test_labels_say_how_they_have_grown_and_which_are_gone() -> None:
    assert _labels({"a": 3, "b": 2, "c": 1}, {"a": 1, "b": 2, "d": 9}) == "a 3 (+2), b 2, c 1 (+1); gone: d"
    assert _labels({"a": 3}, None) == "a 3"


@pytest.mark.parametrize("row", NASTY)
def test_a_row_is_shown_as_it_is_spelled(row: str) -> None:
    changed = _changed(Since("sly-fox", "c0ffee", rows=Changes(1, examples=(Example("added", row, f"{row}\nover two lines"),))))
    html = MarkdownIt("commonmark").enable("table").render(changed)
    cells = [cell.split("</td>")[0] for cell in html.split("<td>")[1:]]
    escaped = row.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert cells == ["added", escaped, f"{escaped} over two lines"]


def test_a_state_message_is_one_line_that_can_be_read_at_a_glance() -> None:
    assert why(InputError("data.path:\n  no such file")) == "data.path: no such file"
    long = why(InputError("rejected: " + "row 1, " * 200))
    assert len(long) <= READABLE
    assert long.endswith(" ...")


def test_a_run_that_equals_the_branch_itself_is_tagged_with_the_commit() -> None:
    assert Experiment("sly-fox", "c0ffee", "beef", is_new=False).tag == "experiment:sly-fox"
    assert Experiment("beef", "beef", "beef", is_new=False).tag == "commit:beef"
