"""What is restored from the DVC cache, or used as an input, is hashed first: damage is set aside, said, and never computed on."""

import os
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from flows.fsck.check import check
from flows.ledger.cache import MEMORY, VerifiedCache, opened
from flows.ledger.results import Result
from tasks.shared.errors import InputError
from tests.support.edits import flip
from tests.support.project import Once
from tests.support.two_stages import ROWS, Small, forget, recorded, start, worktree_of


@pytest.fixture
def small(tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A copy of that repository, to change at will."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    shutil.copytree(once("small", start), tmp_path / "small")
    return Small(tmp_path / "small")


def test_a_flip_in_the_tokens_object_is_not_trained_on_at_another_learning_rate(small: Small) -> None:
    small.rate(2)
    small.run()
    whole = recorded(small)
    small.rate(3)
    small.run()
    other = recorded(small)
    flipped = flip(small.object_of("tokens/train.arrow"))
    forget(small, "tokens", "model")
    small.rate(2)
    small.ran.clear()
    assert small.run() == {"tokenize": Result.ran, "train": Result.restored}
    assert small.ran == ["tokenize"]
    assert recorded(small) == whole
    assert small.aside() == {flipped}
    assert sum(flipped in line for line in small.told) == 1
    small.rate(3)
    small.run()
    assert recorded(small) == other


@pytest.mark.parametrize("kind", ["a file of a folder", "a listing", "a file", "a metric"])
@pytest.mark.parametrize("is_here", [True, False])
def test_a_flip_in_each_kind_of_output_is_set_aside_and_repaired(
    small: Small, kind: str, is_here: bool
) -> None:
    places = {"a file of a folder": "tokens/deep/test.arrow", "a file": "model", "a metric": "loss.json"}
    whole = recorded(small)
    flipped = flip(small.listing if kind == "a listing" else small.object_of(places[kind]))
    if not is_here:
        forget(small, "tokens", "model", "loss.json", "dvc.lock")
    small.run()
    assert recorded(small) == whole
    if kind != "a metric" or not is_here:
        assert small.aside() == {flipped}
        assert sum(flipped in line for line in small.told) == 1
    assert bool(small.ran) != is_here, "what the checkout has whole goes back into the cache"
    small.ran.clear()
    forget(small, "tokens", "model")
    assert set(small.run().values()) == {Result.restored}
    assert not small.ran


def test_a_flip_in_raw_data_is_refused_in_the_checkout_and_never_checked_out(small: Small) -> None:
    file = small.root / "raw/rows.csv"
    flip(file)
    with pytest.raises(
        InputError, match=r"raw/rows.csv has changed since DVC recorded it; .* move it away, and the next run"
    ):
        small.run()
    flipped = flip(next(path for path in small.objects() if path.read_bytes() == ROWS))
    file.unlink()
    small.rate(2)
    forget(small, "tokens", "model", "dvc.lock")
    with pytest.raises(InputError, match=r"not all of it is in the DVC cache; `retrain check --repair`"):
        small.run()
    assert small.aside() == {flipped}
    assert not small.ran


def test_a_flip_in_an_output_of_the_checkout_is_put_right_from_the_cache(small: Small) -> None:
    whole = recorded(small)
    for place in ("tokens/train.arrow", "model"):
        flip(small.root / place)
        assert Result.restored in small.run().values()
        assert recorded(small) == whole
    assert not small.ran


def test_editing_a_restored_file_as_root_leaves_the_cache_as_it_is(small: Small) -> None:
    forget(small, "tokens", "model")
    small.run()
    before = {path: path.read_bytes() for path in small.objects()}
    for place in ("tokens/train.arrow", "model", "raw/rows.csv"):
        with (small.root / place).open("r+b") as file:
            file.write(b"edited")
    assert {path: path.read_bytes() for path in small.objects()} == before


def test_what_is_written_through_a_hard_link_of_an_isolated_run_is_found_out(
    small: Small, tmp_path: Path
) -> None:
    whole = recorded(small)
    folder = worktree_of(small, tmp_path / "worktree")
    (folder / "params.yaml").write_text("rate: 2\n", "utf-8")
    assert small.run(root=folder, sparse=True) == {"tokenize": Result.unchanged, "train": Result.ran}
    linked = folder / "tokens/train.arrow"
    if not linked.samefile(small.object_of("tokens/train.arrow")):
        pytest.skip("this file system shares blocks, so nothing is linked")
    name = small.object_of("tokens/train.arrow").name
    flip(linked)
    small.rate(3)
    small.run()
    assert [held[2:] for held in small.aside()] == [name]
    small.rate(1)
    small.run()
    assert recorded(small) == whole


@pytest.mark.slow
def test_a_damaged_object_comes_back_from_the_remote_and_damage_there_is_not_taken(
    small: Small, tmp_path: Path
) -> None:
    whole = recorded(small)
    small.dvc("remote", "add", "-d", "storage", str(tmp_path / "storage"))
    small.dvc("push")
    flipped = [flip(small.object_of("tokens/train.arrow")), flip(small.object_of("model"))]
    forget(small, "tokens", "model")
    assert set(small.run().values()) == {Result.restored}
    assert recorded(small) == whole
    assert small.aside() == set(flipped)
    there = [tmp_path / "storage/files/md5" / name[:2] / name[2:] for name in flipped]
    for path in (*there, small.object_of("tokens/train.arrow"), small.object_of("model")):
        flip(path)
    forget(small, "tokens", "model")
    assert set(small.run().values()) == {Result.ran}
    assert recorded(small) == whole


def test_an_object_that_is_no_readable_file_counts_as_not_cached(small: Small) -> None:
    whole = recorded(small)
    for replace in (Path.mkdir, os.mkfifo):
        make: Callable[[Path], object] = replace
        held = small.object_of("model")
        held.unlink()
        make(held)
        forget(small, "model")
        small.run()
        assert recorded(small) == whole


def test_objects_are_hashed_once_for_each_state_of_their_inode(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def noted(path: str, *words: object, **options: object) -> object:
        # listings are built in memory
        hashed.extend([] if path.endswith(".tmp") else [Path(path).name])
        return original(path, *words, **options)  # type: ignore[arg-type]

    from dvc_data.hashfile import hash as hashing

    original = hashing.file_md5
    monkeypatch.setattr(hashing, "file_md5", noted)
    small.run()
    hashed.clear()
    small.run()
    assert not hashed
    touched = small.object_of("model")
    os.utime(touched)
    small.run()
    assert hashed == [touched.name]


def test_a_memory_that_cannot_be_read_is_made_anew(small: Small) -> None:
    for folder in (small.root / ".dvc/tmp" / MEMORY, small.root / ".dvc/cache" / MEMORY):
        (folder / "cache.db").write_bytes(b"no database" * 100)
        for rest in folder.glob("cache.db-*"):
            rest.unlink()
    assert set(small.run().values()) == {Result.unchanged}


def test_the_objects_of_a_cache_that_is_only_looked_at_stay_where_they_are(small: Small) -> None:
    flipped = flip(small.object_of("model"))
    repo = opened(small.root, small.told.append, is_looked_at=True)
    assert isinstance(repo.cache.local, VerifiedCache)
    assert flipped not in repo.cache.local.oids_exist([flipped])
    assert not small.aside()
    assert not small.told


@pytest.mark.slow
@pytest.mark.parametrize("is_set_aside", [True, False])
def test_repair_invalidates_what_dvc_repro_has_computed_from_damage(
    small: Small, tmp_path: Path, is_set_aside: bool
) -> None:
    small.rate(2)
    small.run()
    whole = recorded(small)
    for place in (small.root / ".dvc/cache/runs").glob("*/*/*"):
        if "rate: 2" in place.read_text("utf-8"):
            shutil.rmtree(place.parent)
    small.rate(1)
    small.run()
    small.dvc("remote", "add", "-d", "storage", str(tmp_path / "storage"))
    small.dvc("push")
    flipped = flip(small.object_of("tokens/train.arrow"))
    forget(small, "tokens", "model")
    small.rate(2)
    small.dvc("repro")
    assert recorded(small)["model"] != whole["model"], "DVC trains on the damage"
    if is_set_aside:
        small.run()
        assert small.aside() == {flipped}
    shown: list[str] = []
    with chdir(small.root):
        assert check(small.root, None, repair=True, show=shown.append, say=small.told.append)
    assert sum(line.startswith("invalid") and "computed from tokens" in line for line in shown) == 2, (
        "at both rates"
    )
    assert "invalid   what dvc.lock records of train: the next run computes it again" in shown
    small.ran.clear()
    small.run()
    assert small.ran == ["train"]
    assert {name: text for name, text in recorded(small).items() if name != "dvc.lock"} == {
        name: text for name, text in whole.items() if name != "dvc.lock"
    }
    with chdir(small.root):
        assert check(small.root, None, repair=True, show=shown.append, say=small.told.append)
    assert shown[-1].endswith("all whole")
    small.run()
    assert small.ran == ["train"], "once"


@pytest.mark.parametrize("byte", [b"\xab", b"0", b"\t"])
def test_a_flip_in_a_record_of_the_run_cache_is_set_aside_and_written_anew(small: Small, byte: bytes) -> None:
    whole = recorded(small)
    records = {path: path.read_bytes() for path in (small.root / ".dvc/cache/runs").glob("*/*/*")}
    for path, text in records.items():
        path.write_bytes(text[:200] + byte + text[201:])
    forget(small, "tokens", "model", "dvc.lock")
    small.run()
    assert recorded(small) == whole
    assert {path: path.read_bytes() for path in records} == records
    assert sum("in the run-cache was damaged: it is set aside" in line for line in small.told) == len(records)
