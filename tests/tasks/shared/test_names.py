"""What people type: short forms, names with a slip, and what the project itself tells them to type."""

import re
import shlex

import pytest

from flows.cli.app import app
from flows.cli.options import unknown, written_out
from tasks.shared.errors import InputError
from tasks.shared.param_names import names, nearest, spelled_out
from tasks.shared.params_file import Layer, lay_over
from tests.support.project import ROOT, Project

PLACES = [path for glob in ("README.md", "params.yaml", "docs/*.md", "examples/*.yaml", "flows/**/*.py", "tasks/**/*.py")
          for path in ROOT.glob(glob)]  # fmt: skip


def told() -> list[str]:
    """Return every `retrain run` and `plan` with options in documents, help and error sentences."""
    found = set()
    for place in PLACES:
        for command in re.findall(r"retrain ((?:run|plan) --[^`\"'\n#&|;:]*)", place.read_text("utf-8")):
            words = command.split("  ")[0].rstrip(" .,)")
            if "{" not in words and "..." not in words:
                found.add(words)
    return sorted(found)


def test_commands_are_found_in_every_kind_of_place() -> None:
    assert "run --train.epochs 2" in told()
    assert "run --model.revision none" in told()
    assert "plan --train.learning-rate 1e-4" in told()


@pytest.mark.parametrize("command", told())
def test_what_documents_help_and_errors_tell_to_type_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "--help" in command:
        return
    if "--problem text_rating" in command:
        # which is an example, to be copied
        monkeypatch.setattr("tasks.shared.params.PROBLEMS", ROOT / "examples/problems")
    app.parse_args(written_out(shlex.split(command)), exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--train.epochs", "--train.num-train-epochs"),
        ("--epochs", "--train.num-train-epochs"),
        ("--train.lr", "--train.learning-rate"),
        ("--lr=1e-4", "--train.learning-rate=1e-4"),
        ("--learning_rate", "--train.learning-rate"),
        ("--batch-size", "--train.per-device-train-batch-size"),
        ("--train.batch-size", "--train.per-device-train-batch-size"),
        ("--evaluate.batch-size", "--evaluate.batch-size"),
        ("--model", "--model.name"),
        ("--model.name", "--model.name"),
        ("--data", "--data.path"),
        ("--max-steps", "--train.max-steps"),
        ("--columns.my_text", "--data.columns.my_text"),
        ("--isolated", "--isolated"),
        ("--params", "--params"),
        ("lr", "lr"),
    ],
)
def test_short_forms_are_spelled_out(typed: str, meant: str) -> None:
    assert written_out(["run", typed]) == ["run", meant]
    assert written_out(["plan", typed]) == ["plan", meant]


def test_other_commands_are_left_as_they_are() -> None:
    assert written_out(["up", "--port", "1"]) == ["up", "--port", "1"]
    assert written_out([]) == []


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("--train.optimizer", "did you mean --train.optim?"),
        ("--scheduler", "did you mean --train.lr-scheduler-type?"),
        ("--train.warmup-ratio", "did you mean --train.warmup-steps?"),
        ("--train.max-length", "did you mean --tokenize.max-length?"),
        ("--patience", "did you mean --train.early-stopping-patience?"),
        ("--test-size", "did you mean --split.test-share?"),
        ("--fp16", "did you mean --train.precision?"),
        ("--text-column", "did you mean --data.columns.text?"),
        ("--train.weigth-decay", "did you mean --train.weight-decay?"),
        ("--seed", "which one is meant: --split.seed, --train.seed, --evaluate.seed, --fill_mask.seed?"),
        ("--dry-run", "`retrain plan` with the same options says what a run would do"),
        ("--warp", "`retrain run --help` names all"),
    ],
)
def test_an_option_that_there_is_not_is_answered_with_the_one_that_is_meant(typed: str, hint: str) -> None:
    assert unknown(typed) == f"there is no option {typed}; {hint}"


def test_no_short_form_hides_a_param_and_each_is_its_own_nearest() -> None:
    known = dict(names())
    for name, param in known.items():
        if "." in name:
            assert spelled_out(name) == (param if param != name else None)
        assert nearest(name, known) == name


def test_a_param_given_under_two_names_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.lr and train\.learning_rate are the same param; give one"):
        lay_over(Layer("cli", {"train": {"learning_rate": 1e-4, "lr": 2e-4}}))


def test_wrong_words_end_with_status_2_and_one_sentence(project: Project) -> None:
    for command, words, sentence in (
        ("reproduce", ["nosuchrev"], "there is no commit, branch, tag or experiment 'nosuchrev'"),
        ("plan", ["--train.lr", "fast"], "train.learning_rate: 'fast' is not allowed"),
        ("run", ["--dry-run"], "there is no option --dry-run"),
    ):
        done = project.retrain(*words, command=command, status=2)
        assert done.stderr.startswith("error: ")
        assert sentence in done.stderr
        assert len(done.stderr.splitlines()) == 1
