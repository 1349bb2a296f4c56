"""Tags come from outside: whatever they are, they stop nobody, and what they say is shown as text."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.cli.models import models
from flows.git.commands import git
from flows.registry import sharing
from flows.registry.tags import LARGEST, Record, read
from tasks.shared.errors import InputError
from tests.support.project import environment
from tests.support.registry import NAME, STAGE, a_run, last, repository, shared, tags, won


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a champion."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    made = repository(tmp_path / "checkout")
    won(made, a_run(made, "first"), None, record=Record(run="first"))
    return made


def planted(checkout: Path, name: str, text: str | bytes, ref: str | None = None) -> None:
    """Make a ref of an object that is said to be a tag, whatever it is."""
    content = text if isinstance(text, bytes) else text.encode()
    written = subprocess.run(
        ["git", "hash-object", "-t", "tag", "-w", "--stdin", "--literally"],
        cwd=checkout,
        input=content,
        capture_output=True,
        check=True,
    )
    ref_file = checkout / ".git/refs/tags" / (ref or name)
    ref_file.parent.mkdir(parents=True, exist_ok=True)
    ref_file.write_bytes(written.stdout)


def text_of(
    commit: str, name: str, message: str = "Assign", when: str = "1700000000 +0000", kind: str = "commit"
) -> str:
    return f"object {commit}\ntype {kind}\ntag {name}\ntagger Eve <eve@example.org> {when}\n\n{message}\n"


NEXT = "tickets#prod#2"


def forgeries(checkout: Path) -> dict[str, tuple[str, str | bytes]]:
    """Return tags that are none of a commit, or that were made under another name."""
    head, tree = git(checkout, "rev-parse", "HEAD"), git(checkout, "rev-parse", "HEAD^{tree}")
    return {
        "nothing in it": (NEXT, b""),
        "no head": (NEXT, "Assign prod"),
        "bytes": (NEXT, bytes(range(256)) * 10),
        "of a tree": (NEXT, text_of(tree, NEXT, kind="tree")),
        "of a tree that is said to be a commit": (NEXT, text_of(tree, NEXT)),
        "of nothing": (NEXT, text_of("1" * 40, NEXT)),
        "of what is no name": (NEXT, text_of("--all", NEXT)),
        "of another name": (NEXT, text_of(head, "tickets#staging#2")),
        "too large": (NEXT, text_of(head, NEXT, message="x" * LARGEST)),
        "a number with a nought": ("tickets#prod#02", text_of(head, "tickets#prod#02")),
        "a number without an end": (f"tickets#prod#{'9' * 30}", text_of(head, f"tickets#prod#{'9' * 30}")),
        "no number": ("tickets#prod", text_of(head, "tickets#prod")),
        "a version that is none": ("tickets@v1", text_of(head, "tickets@v1")),
        "a version before a version": ("tickets@v1.0.0-rc1", text_of(head, "tickets@v1.0.0-rc1")),
        "a path": ("a/tickets#prod#2", text_of(head, "a/tickets#prod#2")),
    }


@pytest.mark.parametrize("which", range(15))
def test_a_forged_tag_changes_no_champion_and_stops_no_promotion(checkout: Path, which: int) -> None:
    name, content = [*forgeries(checkout).values()][which]
    planted(checkout, name, content)
    champion = read(checkout).champion(NAME, STAGE)
    assert champion is not None
    assert champion.tag == "tickets#prod#1"
    done = won(checkout, a_run(checkout, "second"), champion)
    # a name that is taken stays so
    assert done.assignment.tag == ("tickets#prod#3" if name == NEXT else NEXT)
    assert done.version.tag == "tickets@v0.0.2"


def test_a_tag_without_annotation_is_no_assignment_as_for_gto(checkout: Path) -> None:
    git(checkout, "tag", NEXT)
    git(checkout, "tag", "tickets@v0.0.2")
    known = read(checkout, NAME)
    assert [one.tag for one in known.versions] == ["tickets@v0.0.1"]
    assert (
        won(checkout, a_run(checkout, "second"), known.champion(NAME, STAGE)).version.tag == "tickets@v0.0.3"
    )


def test_one_forged_tag_among_others_is_passed_over_alone(checkout: Path) -> None:
    won(checkout, a_run(checkout, "second"), last(checkout))
    for number, (_, content) in enumerate(forgeries(checkout).values()):
        planted(checkout, f"tickets#other#{number + 1}", content)
    assert [one.tag for one in read(checkout).assignments] == ["tickets#prod#1", "tickets#prod#2"]


def test_line_ends_of_another_system_in_a_message_hide_no_other_tag(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    planted(checkout, "tickets@v0.0.9", text_of(head, "tickets@v0.0.9", "Register\r\n\r\n{}\r\n" * 50))
    won(checkout, a_run(checkout, "second"), last(checkout))
    known = read(checkout, NAME)
    assert {one.tag for one in known.versions} == {"tickets@v0.0.1", "tickets@v0.0.9", "tickets@v0.0.10"}
    assert [one.tag for one in known.assignments] == ["tickets#prod#1", "tickets#prod#2"]


@pytest.mark.parametrize(
    "message",
    [
        "Assign",
        "Assign\n\nnot JSON",
        'Assign\n\n{"verdict": 3}',
        'Assign\n\n{"scores": {"f1": "high"}}',
        'Assign\n\n{"evidence": {"low": -Infinity}}',
        'Assign\n\n{"evidence": {"low": 1e999}}',
        'Assign\n\n{"evidence": ' + '{"a":' * 5000 + "1" + "}" * 5001,
        'Assign\n\n{"package": "sha256:../.."}',
        'Assign\n\n["better"]',
        'Assign\n\n{"run": "\\ud800"}',
    ],
)
def test_a_message_that_is_no_record_says_nothing(checkout: Path, message: str) -> None:
    """Somebody may have assigned the stage with GTO itself."""
    planted(checkout, NEXT, text_of(git(checkout, "rev-parse", "HEAD"), NEXT, message))
    champion = read(checkout).champion(NAME, STAGE)
    assert champion is not None
    assert (champion.tag, champion.record, champion.who) == (NEXT, Record(), "Eve <eve@example.org>")
    won(checkout, a_run(checkout, "second"), champion)


def test_fields_that_are_not_known_and_a_signature_below_are_no_matter(checkout: Path) -> None:
    message = 'Assign\n\n{"verdict": "better", "newer": {"field": 1}}\n-----BEGIN SSH SIGNATURE-----\nU1NI'
    planted(checkout, NEXT, text_of(git(checkout, "rev-parse", "HEAD"), NEXT, message))
    champion = read(checkout).champion(NAME, STAGE)
    assert champion is not None
    assert champion.record.verdict == "better"


@pytest.mark.parametrize(
    "when", [f"{'9' * 30} +0000", "-5 +0000", "soon", "253402300800 +0000", "1700000000 +9999"]
)
def test_a_time_that_there_is_not_is_none(checkout: Path, when: str) -> None:
    planted(checkout, NEXT, text_of(git(checkout, "rev-parse", "HEAD"), NEXT, when=when))
    champion = read(checkout).champion(NAME, STAGE)
    assert champion is not None
    assert champion.when in (None, datetime.fromtimestamp(1_700_000_000, UTC))
    won(checkout, a_run(checkout, "second"), champion)


def test_what_a_tag_says_is_shown_on_one_line_and_moves_no_cursor(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "dvc.yaml").touch()
    (checkout / "params.yaml").write_text("{}\n")
    monkeypatch.chdir(checkout)
    evil = "\x1b[31mred\x1b]0;title\x07\nnext line [bold]x[/bold]"
    said = {"run": evil, "verdict": evil, "reason": evil, "sentence": evil, "forced": True}
    commit = a_run(checkout, "second")
    for tag in ("tickets@v0.0.2", NEXT):
        planted(checkout, tag, text_of(commit, tag, f"x\n\n{json.dumps(said)}").replace("Eve", "E\x1b[2Jve"))
    assert models() == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert len(shown.strip().splitlines()) >= 3
    assert models(as_json=True) == 0
    assert json.loads(capsys.readouterr().out)[1]["version"] == "v0.0.2"


def test_the_last_number_that_there_is_is_a_sentence(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    planted(checkout, "tickets#prod#999999999", text_of(commit, "tickets#prod#999999999"))
    with pytest.raises(InputError, match=r"no number comes after that of the tag tickets#prod#999999999"):
        won(checkout, a_run(checkout, "second"), last(checkout))


def test_an_assignment_that_gto_has_cancelled_leaves_the_stage_to_nobody(checkout: Path) -> None:
    tag = "tickets#prod!#2"
    planted(checkout, tag, text_of(git(checkout, "rev-parse", "HEAD"), tag))
    assert read(checkout).champion(NAME, STAGE) is None
    done = won(checkout, a_run(checkout, "second"), last(checkout))
    assert done.assignment.tag == "tickets#prod#3"


def test_forged_tags_of_a_remote_are_fetched_and_change_nothing(checkout: Path, tmp_path: Path) -> None:
    remote = tmp_path / "origin.git"
    shared(checkout, remote)
    sharing.synchronised(checkout, "origin", NAME, print)
    blob = git(remote, "hash-object", "-w", "--stdin", given="no commit\n")
    for tag in (NEXT, "tickets@v0.0.2"):
        git(remote, "update-ref", f"refs/tags/{tag}", blob)
    git(remote, "update-ref", "refs/tags/other#prod#1", blob)
    sharing.synchronised(checkout, "origin", NAME, print)
    assert "other#prod#1" not in tags(checkout), "those of other models are theirs"
    done = won(checkout, a_run(checkout, "second"), last(checkout))
    assert (done.version.tag, done.assignment.tag) == ("tickets@v0.0.3", "tickets#prod#3")
    assert tags(checkout).items() <= tags(remote).items()


def test_reading_the_registry_asks_git_alone() -> None:
    script = "import sys; import flows.cli.models, flows.registry.tags; print(*sorted({'dvc', 'prefect', 'torch'} & {*sys.modules}))"
    done = subprocess.run(["python", "-c", script], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == ""
