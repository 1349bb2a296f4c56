"""Looks at test rows: counted for all who share the repository, once for the same two models, until all rows are new."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.git import refs
from flows.git.commands import git
from flows.git.remotes import UnreachableError
from flows.registry import looks
from flows.registry.looks import REF, Look, seen, take
from tasks.shared.errors import InputError
from tests.support.registry import NAME, at_once, looker, remote_of, shared
from tests.support.wait import until

# seconds in which those who look at once are killed: about what they take
WITHIN = 0.6
# turns of the quick test: on a quiet machine they may kill nobody
FEW = 5


def numbers(repository: Path, name: str = "m") -> list[int]:
    """Return the numbers of the looks of a repository, the newest first."""
    return [look.number for look in seen(repository, name).looks]


def ids(first: int, count: int) -> list[str]:
    return [f"{number:016x}{'0' * 48}" for number in range(first, first + count)]


def test_each_pair_is_one_look_however_often_it_is_asked_for(checkout: Path) -> None:
    first = take(checkout, "m", "one", "champion", ids(0, 10))
    assert (first.number, first.new_rows) == (1, 10)
    second = take(checkout, "m", "two", "champion", ids(0, 12))
    assert (second.number, second.new_rows) == (2, 2)
    again = take(checkout, "m", "one", "champion", ids(0, 10))
    assert (again.number, again.new_rows) == (1, 10)
    assert (first.is_new, second.is_new, again.is_new) == (True, True, False)
    assert take(checkout, "m", "one", "two", ids(0, 10)).number == 3, (
        "beside another champion it is another look"
    )


def test_counting_starts_afresh_only_when_no_row_has_been_seen(checkout: Path) -> None:
    take(checkout, "m", "one", "champion", ids(0, 10))
    assert take(checkout, "m", "two", "champion", ids(9, 100)).number == 2
    assert take(checkout, "m", "three", "champion", ids(1000, 10)).number == 1
    assert take(checkout, "m", "four", "champion", ids(1009, 10)).number == 2


def in_turn(checkout: Path, splits: str) -> list[Look]:
    """Look at a test split of ten rows for each letter, by a candidate of its own; return the looks."""
    return [
        take(checkout, "m", f"{number}", "champion", ids(10 * ord(split), 10))
        for number, split in enumerate(splits)
    ]


def test_rows_that_were_looked_at_are_counted_on_whatever_was_looked_at_meanwhile(checkout: Path) -> None:
    taken = in_turn(checkout, "AAAABA")
    assert [look.number for look in taken] == [1, 2, 3, 4, 1, 5]
    assert [look.new_rows for look in taken] == [10, 0, 0, 0, 10, 0]
    assert numbers(checkout) == [5, 1, 4, 3, 2, 1]
    assert take(checkout, "m", "2", "champion", ids(0, 10)).number == 3, "the same pair is one look"
    assert [look.number for look in in_turn(checkout, "AAAABACAB")[6:]] == [1, 6, 7], "and so ever after"


def test_looks_at_parts_of_an_old_test_split_have_numbers_of_their_own(checkout: Path) -> None:
    in_turn(checkout, "AAAAB")
    first = 10 * ord("A")
    assert take(checkout, "m", "a part", "champion", ids(first, 1)).number == 5
    assert take(checkout, "m", "new", "champion", ids(10 * ord("C"), 10)).number == 1
    assert take(checkout, "m", "another part", "champion", ids(first + 1, 1)).number == 6
    assert take(checkout, "m", "all", "champion", ids(first, 10)).number == 7


def test_two_test_splits_in_turn_do_not_have_each_other_forgotten_where_looks_are_shared(
    clones: tuple[Path, Path],
) -> None:
    one, two = clones
    assert [look.number for look in in_turn(one, "AAAAB")] == [1, 2, 3, 4, 1]
    config = (two / ".dvc/config").read_text()
    (two / ".dvc/config").write_text("")
    for number, candidate in enumerate(["alone", "alone-too"], 1):
        assert take(two, "m", candidate, "champion", ids(10 * ord("A"), 10)).number == number
    (two / ".dvc/config").write_text(config)
    assert take(two, "m", "last", "champion", ids(10 * ord("B"), 10)).number == 7
    assert numbers(remote_of(one)) == numbers(two) == [7, 6, 5, 1, 4, 3, 2, 1]


def test_looks_that_were_numbered_when_older_counts_were_forgotten_are_read(checkout: Path) -> None:
    in_turn(checkout, "AAAAB")
    record = '{"number": 1, "candidate": "x", "other": "champion", "new_rows": 10, "is_new": true}'
    rows = git(checkout, "show", f"{REF}/m~4:rows") + "\n"
    git(checkout, "update-ref", f"{REF}/m", forged(checkout, record, rows, "-p", f"{REF}/m"))
    assert not take(checkout, "m", "x", "champion", ids(0, 1)).is_new, "whatever somebody has written"
    assert take(checkout, "m", "y", "champion", ids(10 * ord("A"), 10)).number == 5


def test_models_of_other_names_have_looks_of_their_own(checkout: Path) -> None:
    take(checkout, "m", "one", "champion", ids(0, 10))
    assert take(checkout, "n", "one", "champion", ids(0, 10)).number == 1


def test_of_many_at_once_each_takes_a_look_of_its_own(checkout: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        looks = list(
            pool.map(lambda number: take(checkout, "m", f"{number}", "champion", ids(0, 10)), range(8))
        )
    assert sorted(look.number for look in looks) == list(range(1, 9))


def forged(repository: Path, text: str, rows: str = "", *parent: str) -> str:
    """Return a commit that somebody has written: it should be a look."""
    made = [git(repository, "hash-object", "-w", "--stdin", given=one) for one in (text, rows)]
    tree = git(repository, "mktree", given=f"100644 blob {made[0]}\tlook.json\n100644 blob {made[1]}\trows\n")
    return git(repository, "commit-tree", tree, *parent, "-m", "forged")


LOOK = '{"number": 1, "candidate": "a", "other": "b"}'


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", ""),
        ("{}", ""),
        ('{"number": 0, "candidate": "a", "other": "b"}', ""),
        ('{"number": 2, "candidate": "a", "other": "b"}', ""),
        (f'{{"number": {"9" * 400}, "candidate": "a", "other": "b"}}', ""),
        ("[" * 100_000, ""),
        (LOOK, "no base64!"),
    ],
)
def test_what_others_have_written_there_is_one_sentence(checkout: Path, text: str, rows: str) -> None:
    git(checkout, "update-ref", f"{REF}/m", forged(checkout, text, rows))
    with pytest.raises(InputError, match=r"holds what is no record of a look .* `git update-ref -d"):
        take(checkout, "m", "one", "champion", ids(0, 10))


@pytest.mark.parametrize("number", [2, 4, 9])
def test_no_look_has_a_number_that_nobody_could_have_taken(checkout: Path, number: int) -> None:
    in_turn(checkout, "AA")
    record = f'{{"number": {number}, "candidate": "a", "other": "b"}}'
    git(checkout, "update-ref", f"{REF}/m", forged(checkout, record, "", "-p", f"{REF}/m"))
    with pytest.raises(InputError, match="holds what is no record of a look"):
        seen(checkout, "m")


@pytest.mark.parametrize("bound", ["MOST", "LARGEST", "LARGEST_OF_ONE"])
def test_more_than_is_read_is_said_to_be_so_and_nobody_is_told_to_delete_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    for number in range(2):
        take(checkout, "m", f"{number}", "champion", ids(1000 * number, 1000))
    monkeypatch.setattr(looks, bound, 1 if bound == "MOST" else 10_000)
    with pytest.raises(
        InputError, match=r"holds more looks than are read .* promote.name of its own"
    ) as told:
        take(checkout, "m", "last", "champion", ids(5000, 1))
    assert "no record" not in str(told.value)
    assert "update-ref" not in str(told.value)


def test_looks_are_counted_without_their_rows_and_rows_are_read_some_at_a_time(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "AT_ONCE", 500)
    for number in range(20):
        assert take(checkout, "m", f"{number}", "champion", ids(10 * number, 10)).number == 1
    assert take(checkout, "m", "all", "champion", ids(0, 200)).number == 2
    # those of a pair that was looked at are not read either
    monkeypatch.setattr(looks, "LARGEST", 3000)
    assert len(seen(checkout, "m").looks) == 21
    assert take(checkout, "m", "all", "champion", ids(0, 200)).number == 2


def test_a_look_is_counted_at_the_remote_too(clones: tuple[Path, Path]) -> None:
    one, two = clones
    assert take(one, "m", "first", "champion", ids(0, 10)).number == 1
    second = take(two, "m", "second", "champion", ids(5, 10))
    assert (second.number, second.new_rows) == (2, 5)
    assert take(two, "m", "first", "champion", ids(0, 10)).number == 1, "the same pair is one look everywhere"
    assert take(one, "m", "third", "champion", ids(0, 10)).number == 3
    assert numbers(remote_of(one)) == numbers(one) == [3, 2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("turns", [FEW, pytest.param(100, marks=pytest.mark.slow)])
def test_of_many_in_two_clones_at_once_each_takes_a_look_of_its_own_whoever_is_killed(
    clones: tuple[Path, Path], turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "STALE", 0.5)
    one, two = clones
    remote, taken, killed = remote_of(one), set[int](), 0
    for turn in range(turns):
        ends = at_once((one, two, one, two), turn, WITHIN, looker)
        assert {end.split()[0] for end in ends} <= {"took", "killed"}, ends
        killed += ends.count("killed")
        new = {int(end.split()[1]) for end in ends if end.startswith("took")}
        assert len(new) == sum(end.startswith("took") for end in ends), "each has a number of its own"
        assert new.isdisjoint(taken)
        taken |= new
        # a push may go on when who has started it is killed
        until(lambda: not list(remote.glob("refs/**/*.lock")))
    assert turns == FEW or killed
    for clone in clones:
        take(clone, NAME, "last", "champion", ids(7, 1))
    its = numbers(remote, NAME)
    assert its == list(range(len(its), 0, -1))
    assert taken < {*its}
    assert numbers(one, NAME) == numbers(two, NAME) == its
    git(remote, "fsck", "--strict", "--connectivity-only")


def test_looks_that_were_taken_while_nothing_was_shared_are_counted_after_those_of_the_remote(
    clones: tuple[Path, Path],
) -> None:
    one, two = clones
    take(one, "m", "first", "champion", ids(0, 10))
    take(one, "m", "both", "champion", ids(0, 10))
    config = (two / ".dvc/config").read_text()
    (two / ".dvc/config").write_text("")
    for number, candidate in enumerate(["alone", "both", "alone-too"], 1):
        assert take(two, "m", candidate, "champion", ids(5, 10)).number == number
    (two / ".dvc/config").write_text(config)
    last = take(two, "m", "last", "champion", ids(0, 20))
    assert [look.candidate for look in seen(two, "m").looks] == [
        "last",
        "alone-too",
        "alone",
        "both",
        "first",
    ]
    assert (last.number, last.new_rows) == (5, 5)
    assert numbers(remote_of(one)) == numbers(two) == [5, 4, 3, 2, 1]


def test_looks_that_only_this_clone_has_are_sent_to_a_new_remote_as_they_are(
    checkout: Path, tmp_path: Path
) -> None:
    for number in range(3):
        take(checkout, "m", f"{number}", "champion", ids(0, 10))
    before = seen(checkout, "m").looks
    shared(checkout, tmp_path / "origin.git")
    assert take(checkout, "m", "last", "champion", ids(0, 10)).number == 4
    assert seen(tmp_path / "origin.git", "m").looks[1:] == before


def test_a_remote_that_cannot_be_reached_or_takes_nothing_refuses_the_look(clones: tuple[Path, Path]) -> None:
    one, _ = clones
    remote = remote_of(one)
    remote.rename(remote.with_name("gone"))
    with pytest.raises(UnreachableError, match="Git remote 'origin' cannot be asked") as told:
        take(one, "m", "first", "champion", ids(0, 10))
    assert "\n" not in str(told.value)
    remote.with_name("gone").rename(remote)
    hook = remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho not on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(UnreachableError, match=r"does not take the look: .*not on Fridays"):
        take(one, "m", "first", "champion", ids(0, 10))
    assert numbers(one) == []


def test_a_kill_after_the_push_leaves_what_the_next_look_fetches(
    clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = clones

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(looks, "set_ref", killed)
        with pytest.raises(KeyboardInterrupt):
            take(one, "m", "first", "champion", ids(0, 10))
    assert numbers(one) == []
    assert take(one, "m", "first", "champion", ids(0, 10)).number == 1
    assert numbers(one) == numbers(remote_of(one)) == [1]


@pytest.mark.parametrize("what", ["blob", "look"])
def test_what_somebody_has_written_at_the_remote_is_one_sentence(
    clones: tuple[Path, Path], what: str
) -> None:
    one, _ = clones
    remote = remote_of(one)
    blob = git(remote, "hash-object", "-w", "--stdin", given="no commit")
    its = forged(remote, '{"number": 7}') if what == "look" else blob
    git(remote, "update-ref", f"{REF}/m", its)
    with pytest.raises(
        InputError,
        match=r"looks/m of 'origin' holds what is no record .* `git push origin --delete refs/retrain/looks/m`",
    ):
        take(one, "m", "first", "champion", ids(0, 10))
    assert numbers(one) == []
