"""Looks at test rows: counted for all who share the repository, once for the same two models, until all rows are new."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.git.commands import git
from flows.registry.looks import REF, seen, take
from tasks.shared.errors import InputError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "start", env=WHO)
    return tmp_path


WHO = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def ids(first: int, count: int) -> list[str]:
    return [f"{number:016x}{'0' * 48}" for number in range(first, first + count)]


def test_each_pair_is_one_look_however_often_it_is_asked_for(checkout: Path) -> None:
    first = take(checkout, "m", "one", "champion", ids(0, 10))
    assert (first.number, first.new_rows) == (1, 10)
    second = take(checkout, "m", "two", "champion", ids(0, 12))
    assert (second.number, second.new_rows) == (2, 2)
    assert take(checkout, "m", "one", "champion", ids(0, 10)) == first
    assert take(checkout, "m", "one", "two", ids(0, 10)).number == 3, (
        "beside another champion it is another look"
    )
    assert len(seen(checkout, "m").rows) == 12


def test_counting_starts_afresh_only_when_no_row_has_been_seen(checkout: Path) -> None:
    take(checkout, "m", "one", "champion", ids(0, 10))
    assert take(checkout, "m", "two", "champion", ids(9, 100)).number == 2
    assert take(checkout, "m", "three", "champion", ids(1000, 10)).number == 1
    assert len(seen(checkout, "m").looks) == 1
    assert take(checkout, "m", "four", "champion", ids(0, 10)).number == 1, (
        "what was seen before that is forgotten"
    )


def test_models_of_other_names_have_looks_of_their_own(checkout: Path) -> None:
    take(checkout, "m", "one", "champion", ids(0, 10))
    assert take(checkout, "n", "one", "champion", ids(0, 10)).number == 1


def test_of_many_at_once_each_takes_a_look_of_its_own(checkout: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        looks = list(
            pool.map(lambda number: take(checkout, "m", f"{number}", "champion", ids(0, 10)), range(8))
        )
    assert sorted(look.number for look in looks) == list(range(1, 9))


@pytest.mark.parametrize("text", ["", "{}", '{"number": 0, "candidate": "a", "other": "b"}', "[" * 100_000])
def test_what_others_have_written_there_is_one_sentence(checkout: Path, text: str) -> None:
    blob = git(checkout, "hash-object", "-w", "--stdin", given=text)
    tree = git(checkout, "mktree", given=f"100644 blob {blob}\tlook.json\n100644 blob {blob}\trows\n")
    commit = git(checkout, "commit-tree", tree, "-m", "forged", env=WHO)
    git(checkout, "update-ref", f"{REF}/m", commit)
    with pytest.raises(InputError, match=r"holds what is no record of a look .* `git update-ref -d"):
        take(checkout, "m", "one", "champion", ids(0, 10))
