"""What a certificate says: how near a rebuilt model came, and the first thing that explains why not nearer."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from flows.ledger.revision import Compared
from flows.report.certificate import Certificate, Grade, grade_predictions, markdown
from flows.report.summary import show_certificate
from tasks.shared.files import write_json
from tests.support.measured import STAGES, scores

PINS = {"numpy": metadata.version("numpy")}
SAME = Compared("models/checkpoint", "aa", "aa", ())
OTHER = Compared("models/checkpoint", "aa", "bb", ("model.safetensors",))


def left(folder: Path, predicted: str = "a", f1: float = 0.6, threads: int = 1) -> Path:
    """Write what evaluate and train leave."""
    write_json(folder / "metrics/evaluate.json", scores(f1, 0.5, 0.7))
    write_json(folder / "metrics/train.json", {"device": "cpu", "threads": threads, "seconds": 3})
    (folder / "plots/evaluate").mkdir(parents=True)
    (folder / "plots/evaluate/predictions.csv").write_text(
        f"id,actual,predicted,confidence\nx,a,{predicted},{f1}\n"
    )
    return folder


def judged(
    tmp_path: Path,
    pins: dict[str, str] = PINS,
    changed: tuple[str, ...] = (),
    output: Compared = OTHER,
    **now: Any,
) -> Certificate:
    """Return the certificate of a model whose training came out like this."""
    certificate = Certificate.begin("v1", "c0ffee" * 6, pins)
    for name in STAGES:
        certificate.add(
            name, [output if name == "train" else SAME], list(changed) if name == "train" else [], 1.5
        )
    certificate.judge(left(tmp_path / "recorded"), left(tmp_path / "computed", **now), STAGES)
    return certificate


def test_equal_bits_need_no_explanation(tmp_path: Path) -> None:
    certificate = judged(tmp_path, output=SAME, threads=2)
    assert (certificate.grade, certificate.cause) == (Grade.identical, None)
    assert "Every output has the hash on record." in markdown(certificate)


@pytest.mark.parametrize(
    ("now", "grade"),
    [
        ({"f1": 0.61}, Grade.predictions),
        ({"predicted": "b", "f1": 0.69}, Grade.interval),
        ({"predicted": "b", "f1": 0.71}, Grade.different),
    ],
)
def test_other_bits_are_graded_by_predictions_and_then_by_scores(
    tmp_path: Path, now: dict[str, Any], grade: Grade
) -> None:
    certificate = judged(tmp_path, **now)
    assert certificate.grade == certificate.stages["train"]["grade"] == grade
    assert certificate.stages["split"]["grade"] == Grade.identical


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (
            {"pins": {"numpy": "0.0.1"}, "changed": ("tasks/train",)},
            f"environment: numpy {PINS['numpy']} instead of 0.0.1",
        ),
        ({"pins": {"no-such-library": "1.0"}}, "environment: no-such-library none instead of 1.0"),
        (
            {"changed": ("tasks/train/__init__.py",), "threads": 2},
            "code: tasks/train/__init__.py of train is not what dvc.lock recorded",
        ),
        ({"threads": 2}, "device: threads 2 instead of 1"),
        ({}, "unknown: data, code, versions and device are all as recorded"),
    ],
)
def test_the_first_thing_that_explains_a_difference_is_named(
    tmp_path: Path, given: dict[str, Any], cause: str
) -> None:
    assert judged(tmp_path, **given).cause == cause


def test_predictions_of_any_kind_are_compared_and_how_sure_the_model_was_is_not(tmp_path: Path) -> None:
    for name, row in (("one", "x,[0],0.5,9"), ("two", "x,[0],0.6,9"), ("three", "x,[0],0.5,8")):
        folder = tmp_path / name / "plots/evaluate"
        folder.mkdir(parents=True)
        (folder / "predictions.csv").write_text(f"id,actual,confidence,predicted_end\n{row}\n")
    assert grade_predictions(tmp_path / "one", tmp_path / "two") == Grade.predictions
    assert grade_predictions(tmp_path / "one", tmp_path / "three") == Grade.different


def test_a_certificate_is_shown_whole_whatever_the_revision_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = judged(tmp_path, threads=2)
    certificate.revision = "<b>| `x`\n```"
    shown = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown(certificate))
    assert "<h1>&lt;b&gt;| `x` ```: same predictions</h1>" in shown
    assert shown.count("<pre>") == 1
    assert json.loads(certificate.to_json())["stages"]["train"]["outputs"][0]["differing"] == [
        "model.safetensors"
    ]
    show_certificate(certificate)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith(" train")] == [
        ["train", "same", "predictions", "models/checkpoint/model.safetensors", "1.5"]
    ]
    assert [line.split() for line in lines if line.startswith(" split")] == [
        ["split", "bit-identical", "1.5"]
    ]
