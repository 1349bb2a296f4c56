"""Tags of promotions: both or none, one winner, whatever is killed; shared where runs are, and never forced."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.git import refs, remotes
from flows.git.commands import git
from flows.registry import promotion, sharing
from flows.registry.tags import Record, read
from tasks.shared.errors import InputError
from tests.support.project import ROOT
from tests.support.registry import (
    NAME,
    a_run,
    at_once,
    check,
    last,
    remote_of,
    shared,
    tags,
    won,
)
from tests.support.wait import until

# seconds in which two promoters at once are killed: about what they take
WITHIN = 0.5
# turns of the quick tests: on a quiet machine they may kill nobody
FEW = 10
STRACE = shutil.which("strace")


def test_a_promotion_makes_a_version_and_an_assignment_at_the_commit_with_the_record_in_the_message(
    checkout: Path,
) -> None:
    commit = a_run(checkout, "sly-fox")
    record = Record(run="sly-fox", verdict="better", scores={"macro_f1": 0.5}, reason="why not")
    done = won(checkout, commit, None, record=record)
    assert (done.version.tag, done.assignment.tag) == ("tickets@v0.0.1", "tickets#prod#1")
    assert {git(checkout, "rev-parse", f"{tag}^{{commit}}") for tag in tags(checkout)} == {commit}
    first = git(checkout, "for-each-ref", "--format=%(contents:subject)", "refs/tags/tickets#prod#1")
    assert first == "Assign prod to tickets@v0.0.1"
    said = done.assignment.record
    assert (said.run, said.verdict, said.scores, said.version) == (
        "sly-fox",
        "better",
        {"macro_f1": 0.5},
        "v0.0.1",
    )
    assert done.assignment.who == "COMMITTER@example.org <COMMITTER@example.org>"


def test_a_commit_keeps_its_version_in_other_stages_and_other_commits_get_the_next_one(
    checkout: Path,
) -> None:
    first, second = a_run(checkout, "first"), a_run(checkout, "second")
    won(checkout, first, None, "staging")
    assert won(checkout, first, None).version.tag == "tickets@v0.0.1"
    assert won(checkout, second, last(checkout)).version.tag == "tickets@v0.0.2"
    assert sorted(tags(checkout)) == [
        *("tickets#prod#1", "tickets#prod#2", "tickets#staging#1", "tickets@v0.0.1", "tickets@v0.0.2")
    ]


def test_who_was_compared_with_another_than_the_champion_is_refused(checkout: Path) -> None:
    first, second = a_run(checkout, "first"), a_run(checkout, "second")
    won(checkout, first, None)
    before = tags(checkout)
    with pytest.raises(
        InputError, match=r"tickets@v0\.0\.1 has been given prod meanwhile \(tickets#prod#1\)"
    ):
        won(checkout, second, None)
    assert tags(checkout) == before


def test_names_that_cannot_stand_in_a_tag_are_refused(checkout: Path) -> None:
    commit = a_run(checkout, "first")
    for name, stage in (
        ("a b", "prod"),
        ("-x", "prod"),
        ("tickets", "../prod"),
        ("*", "prod"),
        ("a\n", "prod"),
    ):
        with pytest.raises(InputError, match=r"cannot be the name of a (model|stage) in the registry"):
            promotion.promote(checkout, name, stage, commit, Record(), replaces=None, say=print)


def test_an_assignment_is_later_than_the_one_before_it_whatever_the_clock_says(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    won(checkout, a_run(checkout, "first"), None)
    monkeypatch.setattr(promotion.time, "time", lambda: 1000.0)
    done = won(checkout, a_run(checkout, "second"), last(checkout))
    first, second = read(checkout, NAME).assignments
    assert first.when is not None
    assert second.when is not None
    assert second.when > first.when
    assert done.assignment.when == second.when


def test_an_assignment_alone_as_a_kill_leaves_it_tells_of_its_version_and_the_next_promotion_makes_the_tag(
    checkout: Path,
) -> None:
    first = a_run(checkout, "first")
    won(checkout, first, None)
    git(checkout, "update-ref", "-d", "refs/tags/tickets@v0.0.1")
    (version,) = read(checkout, NAME).versions
    assert (version.tag, version.commit, version.has_tag) == ("tickets@v0.0.1", first, False)
    won(checkout, a_run(checkout, "second"), last(checkout))
    assert git(checkout, "rev-parse", "tickets@v0.0.1^{commit}") == first
    assert all(one.has_tag for one in read(checkout, NAME).versions)


def test_a_promotion_into_another_stage_that_takes_the_version_meanwhile_is_no_rival(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = a_run(checkout, "first"), a_run(checkout, "second")
    created = promotion._created

    def later(where: Path, objects: dict[str, str]) -> bool:
        monkeypatch.setattr(promotion, "_created", created)
        won(where, first, None, "staging")
        return created(where, objects)

    monkeypatch.setattr(promotion, "_created", later)
    done = won(checkout, second, None)
    assert (done.version.tag, done.assignment.tag) == ("tickets@v0.0.2", "tickets#prod#1")


@pytest.mark.slow
@pytest.mark.parametrize("turns", [FEW, pytest.param(100, marks=pytest.mark.slow)])
def test_of_two_promoters_at_once_killed_at_random_moments_one_wins_and_nothing_is_half_written(
    checkout: Path, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "STALE", 0.5)
    won(checkout, a_run(checkout, "first"), None, record=Record(replaced="0"))
    ends = []
    for turn in range(turns):
        ends += a_turn((checkout, checkout), checkout, turn)
    assert {"won"} <= {end.split()[0] for end in ends} <= {"won", "lost", "killed"}
    assert turns == FEW or any(end == "killed" for end in ends)
    # what kills have left blocks nobody
    won(checkout, a_run(checkout, "last"), last(checkout))


def a_turn(checkouts: Sequence[Path], where: Path, turn: int) -> list[str]:
    """Have two promote at once, look whether at most one has won, and return how both ended."""
    before = check(where)
    # now and then nobody is killed, so that somebody wins however slow the machine is
    ends = at_once(checkouts, turn, WITHIN if turn % FEW else None)
    known = check(where)
    assert known.assignments[: len(before.assignments)] == before.assignments
    # the second may have begun when the first was done; `check` has seen what each was compared with
    new = {one.number for one in known.assignments[len(before.assignments) :]}
    assert len(new) <= len(checkouts)
    winners = [int(end.split()[1]) for end in ends if end.startswith("won")]
    assert len({*winners}) == len(winners), ends
    assert {*winners} <= new, ends
    if not any(end == "killed" for end in ends):
        assert len(winners) == len(new) > 0, ends
    return ends


@pytest.mark.parametrize("turns", [FEW, pytest.param(100, marks=pytest.mark.slow)])
def test_of_promoters_in_two_clones_at_once_one_wins_at_the_remote_and_both_clones_learn_it(
    clones: tuple[Path, Path], turns: int
) -> None:
    one, two = clones
    remote = remote_of(one)
    won(one, a_run(one, "first"), None, record=Record(replaced="0"))
    ends = []
    for turn in range(turns):
        for clone in clones:
            until(lambda clone=clone: learned(clone, remote))
        before = len(check(remote).assignments)
        ends += a_turn(clones, remote, turn)
        # a push may go on when who has started it is killed
        until(lambda: not list(remote.glob("refs/**/*.lock")))
        assert len(check(remote).assignments) <= before + 1, "both had seen the same champion"
    assert {"won"} <= {end.split()[0] for end in ends} <= {"won", "lost", "killed"}
    assert turns == FEW or any(end == "killed" for end in ends)
    until(lambda: learned(two, remote))
    won(two, a_run(two, "last"), last(two))


def learned(clone: Path, remote: Path) -> bool:
    """Return whether a clone has the remote's tags once it has looked; a push may be going on."""
    sharing.synchronised(clone, "origin", NAME, print)
    check(clone)
    return tags(clone) == tags(remote)


def test_a_promotion_is_pushed_with_its_commit_and_fetched_by_the_next_command_elsewhere(
    clones: tuple[Path, Path],
) -> None:
    one, two = clones
    commit = a_run(one, "first")
    won(one, commit, None)
    assert git(remote_of(one), "rev-parse", "tickets#prod#1^{commit}") == commit
    second = a_run(two, "second")
    with pytest.raises(InputError, match=r"tickets@v0\.0\.1 has been given prod meanwhile"):
        won(two, second, None)
    done = won(two, second, last(two))
    assert done.assignment.tag == "tickets#prod#2"
    assert tags(two) == tags(remote_of(one))


def test_one_that_was_asleep_for_a_day_never_promotes_an_older_model_over_a_newer(
    clones: tuple[Path, Path],
) -> None:
    one, two = clones
    won(one, a_run(one, "first"), None)
    sharing.synchronised(two, "origin", NAME, print)
    seen, asleep = last(two), a_run(two, "asleep")
    for run in ("second", "third"):
        won(one, a_run(one, run), last(one))
    with pytest.raises(
        InputError, match=r"tickets@v0\.0\.3 has been given prod meanwhile \(tickets#prod#3\)"
    ):
        won(two, asleep, seen)
    assert tags(two) == tags(one) == tags(remote_of(one))


def test_a_kill_after_the_push_leaves_what_the_next_command_fetches(
    clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = clones
    commit = a_run(one, "first")

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_created", killed)
        with pytest.raises(KeyboardInterrupt):
            won(one, commit, None)
    assert tags(one) == {}
    with pytest.raises(InputError, match="has been given prod meanwhile"):
        won(one, commit, None)
    assert tags(one) == tags(remote_of(one))


def test_a_push_whose_answer_is_lost_is_found_to_be_done(
    clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = clones

    def lossy(where: Path, *words: str, **options: object) -> str:
        told = git(where, *words, **options)  # type: ignore[arg-type]
        if words[0] == "push":
            raise InputError("git push --quiet: no answer within 120 s")
        return told

    monkeypatch.setattr(sharing, "git", lossy)
    won(one, a_run(one, "first"), None)
    assert len(tags(one)) == 2
    assert tags(remote_of(one)) == tags(one)


def test_a_remote_that_cannot_be_reached_or_takes_nothing_refuses_the_promotion_and_nothing_is_changed(
    clones: tuple[Path, Path],
) -> None:
    one, _ = clones
    commit, remote = a_run(one, "first"), remote_of(one)
    remote.rename(remote.with_name("gone"))
    with pytest.raises(
        remotes.UnreachableError, match="Git remote 'origin' cannot be asked: git ls-remote"
    ) as told:
        won(one, commit, None)
    assert "\n" not in str(told.value)
    remote.with_name("gone").rename(remote)
    hook = remote / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no tags on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(remotes.UnreachableError, match=r"does not take the tags: .*no tags on Fridays"):
        won(one, commit, None)
    assert tags(one) == tags(remote) == {}


def test_a_host_that_does_not_answer_is_not_waited_for(
    clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, _ = clones
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nsleep 600\n")
    silent.chmod(0o755)
    git(one, "remote", "set-url", "origin", "ssh://git@example.org/origin.git")
    monkeypatch.setenv("GIT_SSH_COMMAND", str(silent))
    monkeypatch.setattr(remotes, "ASKED", 0.5)
    with pytest.raises(remotes.UnreachableError, match="no answer within 0 s"):
        won(one, a_run(one, "first"), None)


def test_what_was_promoted_before_anything_was_shared_is_sent_with_the_next_promotion(
    checkout: Path, tmp_path: Path
) -> None:
    won(checkout, a_run(checkout, "first"), None)
    shared(checkout, tmp_path / "origin.git")
    won(checkout, a_run(checkout, "second"), last(checkout))
    assert len(tags(checkout)) == 4
    assert tags(checkout) == tags(tmp_path / "origin.git")


def test_what_was_promoted_here_alone_while_the_remote_went_on_is_dropped_as_a_whole_and_said(
    clones: tuple[Path, Path],
) -> None:
    """Also what does not collide: it was compared with a champion that was never one."""
    one, two = clones
    config = (two / ".dvc/config").read_text()
    (two / ".dvc/config").write_text("")
    for run in ("mine", "mine-too"):
        won(two, a_run(two, run), last(two))
    (two / ".dvc/config").write_text(config)
    won(one, a_run(one, "theirs"), None)
    seen, told = last(two), list[str]()
    with pytest.raises(
        InputError, match=r"tickets@v0\.0\.1 has been given prod meanwhile \(tickets#prod#1\)"
    ):
        won(two, a_run(two, "third"), seen, say=told.append)
    assert tags(two) == tags(one)
    assert [line.split(" was ")[0] for line in sorted(told)] == [
        *(
            "warning: tickets#prod#1",
            "warning: tickets#prod#2",
            "warning: tickets@v0.0.1",
            "warning: tickets@v0.0.2",
        )
    ]


def test_an_assignment_of_the_same_number_by_another_is_another_champion(clones: tuple[Path, Path]) -> None:
    one, two = clones
    config = (two / ".dvc/config").read_text()
    (two / ".dvc/config").write_text("")
    won(two, a_run(two, "mine"), None)
    (two / ".dvc/config").write_text(config)
    seen = last(two)
    won(one, a_run(one, "theirs"), None)
    with pytest.raises(InputError, match="has been given prod meanwhile"):
        won(two, a_run(two, "second"), seen)


def test_a_run_that_holds_what_git_does_not_track_is_not_sent(clones: tuple[Path, Path]) -> None:
    one, _ = clones
    tree = git(one, "rev-parse", "HEAD^{tree}")
    commit = git(one, "commit-tree", tree, "-p", "HEAD", "-m", 'a run\n\nUntracked: "notes.txt"')
    with pytest.raises(InputError, match=r"holds what Git does not track: notes\.txt"):
        won(one, commit, None)
    assert tags(one) == tags(remote_of(one)) == {}


def test_a_lock_that_a_kill_has_left_of_a_tag_is_outwaited(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "STALE", 0.2)
    lock = checkout / ".git/refs/tags/tickets#prod#1.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    assert won(checkout, a_run(checkout, "first"), None).assignment.number == 1
    assert not lock.exists()


def test_the_users_own_ssh_command_is_left_as_it_is(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "BatchMode=yes" in remotes.quiet(checkout)["GIT_SSH_COMMAND"]
    git(checkout, "config", "core.sshCommand", "ssh -i mine")
    assert "GIT_SSH_COMMAND" not in remotes.quiet(checkout)


SCRIPT = """
import sys
from pathlib import Path
from tests.support.registry import a_run, last, won
from flows.registry.tags import Record
here = Path.cwd()
before = last(here)
won(here, a_run(here, sys.argv[1]), before, record=Record(replaced=str(before.number) if before else "0"))
"""


@pytest.mark.skipif(STRACE is None, reason="strace is not installed; it kills at a system call")
@pytest.mark.parametrize(
    ("call", "when", "made"),
    [
        ("openat", 1, set()),
        pytest.param("openat", 2, set(), marks=pytest.mark.slow),
        pytest.param("rename", 1, set(), marks=pytest.mark.slow),
        ("rename", 2, {"tickets#prod#2"}),
    ],
)
def test_a_kill_at_a_system_call_that_makes_a_tag_leaves_both_or_none(
    checkout: Path, call: str, when: int, made: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two renames the first makes the assignment, which tells of its version."""
    won(checkout, a_run(checkout, "first"), None, record=Record(replaced="0"))
    before = {*tags(checkout)}
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    places = [f"{checkout}/.git/refs/tags/tickets{tag}.lock" for tag in ("#prod#2", "@v0.0.2")]
    paths = [word for place in places for word in ("-P", place)]
    inject = ["-f", "-o", "/dev/null", *paths, "-e", f"inject={call}:signal=KILL:when={when}"]
    killed = subprocess.run(
        [str(STRACE), *inject, sys.executable, "-c", SCRIPT, "second"],
        cwd=checkout,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ("git update-ref --stdin" in killed.stderr) == (not made), "who has the assignment has won"
    assert {*tags(checkout)} - before == made
    monkeypatch.setattr(refs, "STALE", 0.2)
    check(checkout)
    won(checkout, a_run(checkout, "third"), last(checkout), record=Record(replaced=str(number(checkout))))
    known = check(checkout)
    assert len(known.versions) == 2 + len(made)
    assert all(one.has_tag for one in known.versions)
    assert [path.name for path in (checkout / ".git").rglob("*.lock")] == ["retrain.lock"]


def number(checkout: Path) -> int:
    found = last(checkout)
    return found.number if found else 0
