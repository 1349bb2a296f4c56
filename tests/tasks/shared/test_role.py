"""Which of several processes this one is: said whole or not at all, and read in one place."""

import ast
import re

import pytest

from tasks.shared.errors import InputError
from tasks.shared.role import LOCAL, RANK, SIZE, TORCHRUNS, Role, leave, role
from tests.support.project import ROOT

SOURCES = sorted([*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process that nobody started beside others."""
    for name in (RANK, SIZE, LOCAL, TORCHRUNS):
        monkeypatch.delenv(name, raising=False)


def said(monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
    for name, value in names.items():
        monkeypatch.setenv(name, value)


def test_a_process_is_alone_or_one_of_several_as_who_started_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert role() == Role()
    assert role().is_first
    said(monkeypatch, RANK="1", WORLD_SIZE="4", LOCAL_RANK="1")
    assert role() == Role(1, 4, is_started=True)
    assert not role().is_first
    said(monkeypatch, TORCHELASTIC_RUN_ID="train")
    assert role().is_torchruns
    leave()
    assert role() == Role()


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        ({"RANK": "1"}, "RANK 1 in the environment .* but WORLD_SIZE and LOCAL_RANK is not set"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE 2 in the environment .* but RANK and LOCAL_RANK is not set"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK 0 in the environment"),
        (
            {"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            "RANK: 'x' is none of WORLD_SIZE '2' processes",
        ),
        (
            {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            "RANK: '2' is none of WORLD_SIZE '2' processes",
        ),
    ],
)
def test_what_is_left_in_a_shell_is_refused_and_makes_nobody_one_of_several(
    monkeypatch: pytest.MonkeyPatch, left: dict[str, str], sentence: str
) -> None:
    said(monkeypatch, **left)
    with pytest.raises(InputError, match=sentence):
        role()


def test_no_other_module_reads_it_or_asks_torch_and_the_trainer_instead() -> None:
    names = {RANK, SIZE, LOCAL, TORCHRUNS}
    asks = re.compile(r"is_world_process_zero|get_rank\(|get_world_size\(|process_index")
    assert ROOT / "tasks/shared/role.py" in SOURCES
    for file in SOURCES:
        text = file.read_text("utf-8")
        strings = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
        assert file == ROOT / "tasks/shared/role.py" or not strings & names, file
        assert not asks.search(text), file
