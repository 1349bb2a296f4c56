"""The sentences of a report: as sure as the numbers allow, and showing what a row holds, whatever it holds."""

import html
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from flows.ledger.results import READABLE, Experiment, why
from flows.registry.decision import SAME, Decision
from flows.registry.policy import Outcome
from flows.report.certificate import Grade, grade_predictions
from flows.report.changes import Changes, Example
from flows.report.comparison import LastRun
from flows.report.run_report import markdown, news
from flows.report.summary import Summary, show
from tasks.shared.errors import InputError
from tasks.shared.files import write_json
from tasks.shared.params import Params
from tasks.shared.verdict import Verdict, judge, metrics, number
from tests.support.measured import MEASURED, STAGES, scores

NAN = math.nan
NASTY = [
    "a | b",
    "<script>alert(1)</script>",
    "![x](http://x.y/z.png)",
    "`code` *bold* _it_ [a](b)",
    "1. # x",
    "&lt; \\ ~~",
    "$1 {x} https://a.b",
]


def summary(last: LastRun | None = None, **measured: Any) -> Summary:
    """Return a run that is over, with these metrics instead of the usual ones."""
    return Summary(
        dict.fromkeys(STAGES, "ran"), dict.fromkeys(STAGES, 1.0), {**MEASURED, **measured}, None, last
    )


def report(last: LastRun | None = None, plots: Path = Path("none"), **measured: Any) -> str:
    """Return the text that a reader of a run's report sees, a line per block."""
    document = markdown(summary(last, **measured), "sly-fox", Params(), plots)
    shown = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(document)
    shown = shown.replace("<br>", " / ")
    blocks = re.sub(r"</(p|h1|h2|li|tr)>", "\n", shown.replace("\n", " "))
    text = html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"</t[dh]>", " | ", blocks)))
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


@pytest.mark.parametrize(
    ("last", "test", "says"),
    [
        (
            scores(0.3, 0.2, 0.4),
            Changes(),
            "Better than sly-fox: macro_f1 0.6000 (0.5000 to 0.7000) against 0.3000 (0.2000 to 0.4000). They were tested on the same rows.",
        ),
        (scores(0.9, 0.8, 1.0), Changes(), "Worse than sly-fox: "),
        (scores(0.5, 0.4, 0.6), Changes(), "Not shown to be better or worse than sly-fox: "),
        (scores(0.5, 0.4, 0.6), Changes(), "Their intervals do not lie apart."),
        (scores(0.6, 0.5, 0.7), Changes(), "As good as sly-fox: "),
        (
            scores(0.3, 0.2, 0.4),
            Changes(2, 1, 0),
            "They were tested on different rows: 2 added, 1 removed, 0 relabelled.",
        ),
        (scores(0.3, 0.2, 0.4), None, "Whether both were tested on the same rows is not known."),
        (scores(NAN, 0.2, 0.4), Changes(), "Not comparable with sly-fox: "),
        ({"accuracy": 0.9, "interval": {"accuracy": [0.8, 1.0]}}, Changes(), "Not comparable with sly-fox: "),
    ],
)
def test_the_verdict_goes_no_further_than_the_intervals_and_the_test_rows(
    last: dict[str, Any], test: Changes | None, says: str
) -> None:
    assert says in report(LastRun("sly-fox", "c0ffee", scores=last, test=test))


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
def test_better_or_worse_than_a_baseline_is_what_lies_apart_from_it(
    floors: dict[str, float], says: str
) -> None:
    baselines = {name: {"macro_f1": floor} for name, floor in floors.items()}
    said = report(evaluate=scores(0.6, 0.5, 0.7) | {"baselines": baselines})
    assert f"{says} baseline: macro_f1 0.6000 (0.5000 to 0.7000)" in said


@pytest.mark.parametrize("at", range(6))
def test_nan_compares_with_nothing(at: int) -> None:
    values = [0.6, 0.5, 0.7, 0.3, 0.2, 0.4]
    assert judge(values[0], values[1:3], values[3], values[4:]) == Verdict.better
    values[at] = NAN
    assert judge(values[0], values[1:3], values[3], values[4:]) == Verdict.incomparable


def test_of_an_error_less_is_better() -> None:
    assert judge(0.6, [0.5, 0.7], 0.3, [0.2, 0.4], higher_is_better=False) == Verdict.worse
    assert judge(0.3, [0.2, 0.4], 0.6, [0.5, 0.7], higher_is_better=False) == Verdict.better
    measured = scores(0.6, 0.5, 0.7, "squared_error", higher_is_better=False) | {
        "baselines": {"mean": {"squared_error": 0.9}, "nearest": {"squared_error": 0.4}}
    }
    said = report(
        LastRun("sly-fox", "c0ffee", scores=scores(0.9, 0.8, 1.0, "squared_error"), test=Changes()),
        evaluate=measured,
    )
    assert "Worse than the nearest baseline: squared_error 0.6000 (0.5000 to 0.7000) against 0.4000." in said
    assert "Better than sly-fox: squared_error" in said


def test_a_score_without_an_interval_is_shown_and_proves_nothing() -> None:
    assert judge(0.6, None, 0.3, [0.2, 0.4]) == Verdict.unknown
    assert judge(0.6, [0.5, 0.7], 0.6, None) == Verdict.equal
    said = report(evaluate=scores(0.6, 0.5, 0.7) | {"rank_correlation": 0.25})
    assert "rank_correlation | 0.2500 | |" in said


def test_the_headline_stands_first_and_numbers_of_any_size_can_be_read() -> None:
    measured = {"rows": 3, "accuracy": 0.5, "per_class": {}} | scores(2.0, 1.0, 3.0, "loss")
    assert metrics(measured) == ["loss", "accuracy"]
    assert [number(value) for value in (0.0, 0.12345, 1234.5, 1.5e-5, 2.5e9)] == [
        "0.0000",
        "0.1235",
        "1234.5000",
        "1.5e-05",
        "2.5e+09",
    ]


def test_a_record_without_intervals_holds_no_scores_inside_them(tmp_path: Path) -> None:
    for folder, interval in (("recorded", {}), ("computed", {"macro_f1": [0.5, 0.7]})):
        write_json(
            tmp_path / folder / "metrics/evaluate.json", scores(0.6, 0.5, 0.7) | {"interval": interval}
        )
    assert grade_predictions(tmp_path / "recorded", tmp_path / "computed") == Grade.different
    assert grade_predictions(tmp_path / "computed", tmp_path / "recorded") == Grade.interval


def test_what_the_stages_warned_of_stands_in_the_report() -> None:
    said = report(
        tokenize=MEASURED["tokenize"] | {"warnings": ["16.6% are unknown"]},
        train={"warnings": ["a new head"]},
    )
    assert "Warning: 16.6% are unknown.\nWarning: a new head.\n" in "\n".join(filter(None, said.splitlines()))
    assert "Warning" not in report()


def test_without_a_last_run_there_is_no_comparison() -> None:
    assert "No earlier run" in report()
    assert "metric | model | majority |" in report()


def test_scores_stand_beside_the_last_runs_and_the_difference() -> None:
    said = report(LastRun("the run before", scores=scores(0.5, 0.4, 0.55)))
    assert "metric | model | the run before | difference | majority |" in said
    assert "macro_f1 | 0.6000 / 0.5000 to 0.7000 | 0.5000 / 0.4000 to 0.5500 | +0.1000 | 0.1000 |" in said


def test_labels_say_how_they_have_grown_and_which_are_gone() -> None:
    ingested = MEASURED["ingest"] | {"labels": {"a": 3, "b": 2, "c": 1}}
    said = report(
        LastRun("sly-fox", ingest={"labels": {"a": 1, "b": 2, "d": 9}}, rows=Changes()), ingest=ingested
    )
    assert "label | rows | change | a | 3 | +2 | b | 2 | | c | 1 | +1 | d | 0 | -9 |" in said.replace(
        "\n", " "
    ).replace("  ", " ")
    assert "a | 3 | |" in report(ingest=ingested)
    many = {f"label{number}": 1 for number in range(20)}
    said = report(
        LastRun("sly-fox", ingest={"labels": many | {"d": 9}}, rows=Changes()),
        ingest=ingested | {"labels": many},
    )
    assert "label14 | 1 | |" in said
    assert "label15" not in said
    assert "d | 0 | -9 |" in said
    assert "And 5 labels more." in said


def test_a_problem_without_labels_tokens_or_mistakes_has_a_report_too() -> None:
    ingested = {
        name: value
        for name, value in MEASURED["ingest"].items()
        if name not in ("labels", "conflicting_labels")
    }
    said = report(
        ingest=ingested, tokenize={}, evaluate=scores(0.6, 0.5, 0.7, "squared_error", higher_is_better=False)
    )
    assert "squared_error | 0.6000 / 0.5000 to 0.7000 | 0.1000 |" in said
    assert "label" not in said
    assert "mistakes" not in said
    assert "What the model sees" not in said


def test_slices_and_columns_of_numbers_have_tables_of_their_own() -> None:
    sliced = [
        {
            "slice": "country",
            "value": "a | b",
            "rows": 6,
            "macro_f1": 0.5,
            "macro_f1_low": 0.4,
            "macro_f1_high": 0.7,
        },
        {
            "slice": "country",
            "value": "us",
            "rows": 1,
            "macro_f1": 1.0,
            "macro_f1_low": None,
            "macro_f1_high": None,
        },
        {
            "slice": "country",
            "value": "fr",
            "rows": 1,
            "macro_f1": None,
            "macro_f1_low": None,
            "macro_f1_high": None,
        },
    ]
    numbers = {"stars": {"numbers": {"p5": 1.0, "p50": 3.5, "p95": 5.0, "p100": 5.0}}, "label": {"labels": 2}}
    said = report(
        evaluate=MEASURED["evaluate"] | {"slices": sliced}, ingest=MEASURED["ingest"] | {"columns": numbers}
    )
    assert "country | a | b | 6 | 0.5000 / 0.4000 to 0.7000 |" in said
    assert "country | us | 1 | 1.0000 |" in said
    assert "country | fr | 1 | |" in said
    assert "stars | numbers | 1.0 | 3.5 | 5.0 | 5.0 |" in said


def test_pictures_of_any_name_stand_in_the_report(tmp_path: Path) -> None:
    for name in ("learning_curve", "figures/residuals"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(b"picture")
    document = markdown(summary(), "sly-fox", Params(), tmp_path)
    assert re.findall(r"!\[(.*)\]\(data:image/png;base64,cGljdHVyZQ==\)", document) == [
        "residuals",
        "learning curve",
    ]


@pytest.mark.parametrize("row", NASTY)
def test_a_row_is_shown_as_it_is_spelled(row: str) -> None:
    examples = (Example("added", row, f"{row}\nover two lines"),)
    said = report(LastRun(row, "c0ffee", rows=Changes(1, examples=examples)))
    assert f"added | {row} | {row} over two lines |" in said
    assert f"Rows since {row}: 1 added" in said


def test_a_summary_on_the_terminal_takes_80_columns_and_names_the_last_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    baselines = {"majority": {"macro_f1": 0.1}, "tfidf_linear": {"macro_f1": 0.3}}
    measured = scores(0.6, 0.5, 0.7) | {"calibration_error": 0.0123, "baselines": baselines}
    measured["interval"] |= {"calibration_error": [0.01, 0.02]}
    show(summary(LastRun("auspicious-mackerel", "c0ffee", scores=scores(0.3, 0.2, 0.4)), evaluate=measured))
    shown = capsys.readouterr().out.splitlines()
    table = [line.split() for line in shown if "0.5000 to 0.7000  " in line]
    assert table == [["macro_f1", "0.6000", "0.5000", "to", "0.7000", "0.3000", "0.1000", "0.3000"]]
    assert (
        "Better than auspicious-mackerel: macro_f1 0.6000 (0.5000 to 0.7000) against 0.3000 (0.2000 to 0.4000)."
        in shown
    )
    assert max(len(line) for line in shown if not line.endswith(".")) <= Console(width=80).width


def test_a_state_message_is_one_line_that_can_be_read_at_a_glance() -> None:
    assert why(InputError("data.path:\n  no such file")) == "data.path: no such file"
    long = why(InputError("rejected: " + "row 1, " * 200))
    assert len(long) <= READABLE
    assert long.endswith(" ...")


def test_a_run_that_equals_the_branch_itself_is_tagged_with_the_commit() -> None:
    assert Experiment("sly-fox", "c0ffee", "beef", is_new=False).tag == "experiment:sly-fox"
    assert Experiment("beef", "beef", "beef", is_new=False).tag == "commit:beef"


WORSE = Decision("worse", "Worse than the champion.", is_new=True)
LOST = Decision("lost on validation", "It does not do better.")


@pytest.mark.parametrize(
    ("outcome", "is_new_run", "event"),
    [
        (Outcome("Not promoted: the Git remote cannot be asked."), True, None),
        (Outcome("Not promoted.", WORSE), False, "refused"),
        (Outcome("Not promoted.", replace(WORSE, is_new=False)), True, None),
        (Outcome("Not promoted.", LOST), True, "refused"),
        (Outcome("Not promoted.", LOST), False, None),
        (Outcome("It waits.", replace(WORSE, verdict="better"), waits=True), False, "waiting"),
        (Outcome(SAME.sentence, SAME), True, None),
    ],
)
def test_people_are_told_of_what_was_decided_the_night_that_it_was(
    outcome: Outcome, is_new_run: bool, event: str | None
) -> None:
    assert news(outcome, Experiment("sly-fox", "c0ffee", "ba5e", is_new=is_new_run)) == event
