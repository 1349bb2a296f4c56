"""`retrain check`: flipped bytes, lost files and forged listings in the DVC cache are found, named and repaired."""

import hashlib
import json
import random
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from flows.ledger.run_cache import names
from tests.support.edits import digest, flip
from tests.support.project import Project
from tests.support.stages import OUTPUTS, remove_outputs


@dataclass
class Told:
    """What `retrain check` printed."""

    text: str

    def named(self, what: str) -> set[str]:
        """Return the hashes in the lines that begin with a word."""
        return set(re.findall(rf"^{what} +([0-9a-f]+(?:\.dir)?) ", self.text, re.MULTILINE))

    @property
    def summary(self) -> str:
        """The last line."""
        return self.text.splitlines()[-1]


def check(project: Project, *words: str, status: int = 0) -> Told:
    return Told(project.retrain(*words, command="check", status=status).stdout)


def objects(project: Project) -> list[Path]:
    return sorted((project.root / ".dvc/cache/files/md5").glob("*/*"))


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def contents(project: Project) -> dict[str, str]:
    return {digest(path): md5(path.read_bytes()) for path in objects(project)}


def object_of(project: Project, place: str) -> Path:
    """Return the object that holds a file of the checkout."""
    name = md5((project.root / place).read_bytes())
    return project.root / ".dvc/cache/files/md5" / name[:2] / name[2:]


def listing_of(project: Project, folder: str) -> Path:
    """Return the object that lists a folder of the checkout."""
    lock = (project.root / "dvc.lock").read_text("utf-8")
    (name,) = set(re.findall(rf"path: {folder}\n +hash: md5\n +md5: (\w+\.dir)", lock))
    return project.root / ".dvc/cache/files/md5" / name[:2] / name[2:]


def damage(project: Project, *surely: Path, seed: int, count: int = 20) -> set[str]:
    """Flip a byte of the given objects and of others, drawn by a seed: which these are depends on the machine's bits."""
    others = [path for path in objects(project) if path not in surely]
    drawn = random.Random(seed).sample(others, count - len(surely))  # noqa: S311
    return {flip(path) for path in (*surely, *drawn)}


@pytest.mark.slow
def test_twenty_flipped_bytes_are_named_and_computed_again(trained: Project) -> None:
    before = contents(trained)
    assert re.fullmatch(r"\d+ objects, [\d.]+ [kM]B: all whole", check(trained).summary)
    listings = {
        digest(path): path.read_text("utf-8") for path in objects(trained) if path.name.endswith(".dir")
    }
    weights = object_of(trained, "models/package/model.safetensors")
    flipped = damage(trained, listing_of(trained, "data/tokens"), weights, seed=2)
    torn = [listings[name] for name in flipped if name in listings]
    told = check(trained, status=1)
    # what only a damaged listing names is unknown until that is repaired
    unknown = flipped - told.named("damaged")
    assert told.named("damaged") <= flipped
    assert all(any(name in listing for listing in torn) for name in unknown)
    assert told.named("missing") == told.named("dangerous") == set()

    remove_outputs(trained)
    trained.run("git", "rm", "-rq", "--cached", "metrics")
    trained.run("git", "commit", "-qm", "no copy in Git")
    told = check(trained, "--repair")
    assert told.named("repaired") == flipped - unknown
    assert "by computing train again" in told.text
    assert contents(trained) == before, "also what was unknown"
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in objects(trained))
    assert not any((trained.root / folder).exists() for folder in OUTPUTS), "the checkout is left alone"
    assert "all whole" in check(trained).summary
    assert "invalid   what dvc.lock records of " in told.text, "it may have been computed from the damage"
    trained.dvc("repro")
    assert contents(trained) == before
    assert "up to date" in trained.dvc("status").stdout
    assert len(trained.run("git", "worktree", "list").stdout.splitlines()) == 1


@pytest.mark.slow
def test_twenty_flipped_bytes_and_a_lost_object_come_back_from_a_remote(trained: Project) -> None:
    before = contents(trained)
    trained.dvc("remote", "add", "-d", "storage", str(trained.root.parent / "storage"))
    trained.dvc("push")
    lost = object_of(trained, "models/package/README.md")
    lost.unlink()
    flipped = damage(trained, object_of(trained, "metrics/evaluate.json"), seed=3)
    remove_outputs(trained)
    told = check(trained, status=1)
    assert told.named("damaged") <= flipped, (
        "what a damaged listing no longer names is found once that is repaired"
    )
    told = check(trained, "--repair")
    assert told.named("repaired") == {*flipped, digest(lost)}
    assert "from the remote storage" in told.text
    assert "from Git" in told.text, "metrics stand in Git and are not pushed"
    assert "computing" not in told.text
    assert contents(trained) == before
    trained.run("git", "checkout", "metrics", "dvc.lock")
    trained.dvc("checkout")
    assert "up to date" in trained.dvc("status").stdout


@pytest.mark.slow
def test_files_of_the_checkout_that_share_the_damage_are_repaired_with_it(trained: Project) -> None:
    trained.dvc("config", "cache.type", "hardlink")
    trained.dvc("checkout", "--relink")
    file = trained.root / "data/ingested/rejected.jsonl"
    content = file.read_bytes()
    held = object_of(trained, "data/ingested/rejected.jsonl")
    assert file.samefile(held)
    flip(held)
    assert file.read_bytes() != content
    assert "up to date" in trained.dvc("status").stdout, "DVC does not notice"
    assert "the checkout's own file is damaged too" in check(trained, status=1).text
    assert "by computing ingest again" in check(trained, "--repair").text
    assert file.read_bytes() == content
    assert file.samefile(held)

    copied = trained.root / "metrics/ingest.json"
    assert not copied.samefile(object_of(trained, "metrics/ingest.json"))
    flip(object_of(trained, "metrics/ingest.json"))
    assert "from the checkout's metrics/ingest.json" in check(trained, "--repair").text


@pytest.mark.slow
def test_raw_data_without_any_copy_cannot_be_repaired_and_is_named(trained: Project) -> None:
    source = trained.root.parent / "export.csv"
    source.write_text("text,label\n" + "where is my parcel,order\n" * 50)
    trained.retrain(str(source), command="add")
    held = object_of(trained, "data/raw/export.csv")
    flip(held)
    (trained.root / "data/raw/export.csv").unlink()
    moved = source.rename(source.with_name("elsewhere.csv"))
    told = check(trained, "--repair", status=1)
    line = next(line for line in told.text.splitlines() if line.startswith("not repaired"))
    assert "data: data/raw/export.csv" in line
    assert "no copy of it" in line
    assert (trained.root / ".dvc/cache/damaged" / digest(held)).exists(), (
        "what is left of it is kept, out of reach of DVC"
    )
    assert told.summary.endswith("1 damaged; 0 repaired, 1 not")
    assert check(trained, status=1).named("missing") == {digest(held)}
    moved.rename(source)
    assert "from where it was imported" in check(trained, "--repair").text


@pytest.mark.slow
def test_a_revision_is_checked_without_being_checked_out(trained: Project) -> None:
    trained.dvc("exp", "save", "-n", "first")
    for name in ("dvc.lock", "metrics"):
        trained.run("git", "rm", "-rqf", name)
    trained.run("git", "commit", "-qm", "forgotten")
    assert check(trained).summary == "0 objects, 0 bytes: all whole"
    assert "objects" in check(trained, "first").summary
    flipped = flip(object_of(trained, "data/splits/test.parquet"))
    assert check(trained).summary.endswith("all whole")
    for revision in ("first", "HEAD~1"):
        assert check(trained, revision, status=1).named("damaged") == {flipped}
    shutil.rmtree(trained.root / "data/splits")
    assert "by computing split again" in check(trained, "first", "--repair").text
    assert not (trained.root / "data/splits").exists()
    done = trained.retrain("nowhere", command="check", status=2)
    assert "there is no commit, branch, tag or experiment 'nowhere'" in done.stderr


@pytest.mark.slow
def test_a_torn_record_of_the_run_cache_is_found_and_written_again(trained: Project) -> None:
    torn, changed = sorted((trained.root / ".dvc/cache/runs").glob("*/*/*"))[:2]
    before = torn.read_bytes(), changed.read_bytes()
    torn.write_bytes(before[0][:100])
    changed.write_text(
        changed.read_text("utf-8").replace("nfiles", "size", 1).replace("md5: ", "md5: 0", 1), "utf-8"
    )
    told = check(trained, status=1)
    assert told.named("damaged") | told.named("forged") == {torn.name, changed.name}, (
        "a hash of 33 digits is none"
    )
    assert check(trained, "--repair").text.count("written again from dvc.lock") == 2
    assert check(trained).summary.endswith("all whole")


def plant(project: Project, where: str, name: str) -> str:
    """Put a listing into the cache that names a file outside data/tokens, and have dvc.lock or the run-cache name it; return its hash."""
    tokens = digest(listing_of(project, "data/tokens"))
    text = json.dumps([{"md5": digest(object_of(project, "data/tokens/targets.json")), "relpath": name}])
    forged = md5(text.encode()) + ".dir"
    path = project.root / ".dvc/cache/files/md5" / forged[:2] / forged[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o444)
    if where == "dvc.lock":
        lock = project.root / "dvc.lock"
        lock.write_text(lock.read_text("utf-8").replace(tokens, forged), "utf-8")
    else:
        (record,) = (
            file
            for file in (project.root / ".dvc/cache/runs").glob("*/*/*")
            if "-m tasks.tokenize" in file.read_text("utf-8")
        )
        record.write_text(record.read_text("utf-8").replace(tokens, forged), "utf-8")
        # so that its name is what it says
        record.rename(record.with_name(names(yaml.safe_load(record.read_text("utf-8")))[1]))
    return forged


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in place", "isolated"])
@pytest.mark.parametrize("where", ["dvc.lock", "run-cache"])
def test_a_listing_that_climbs_out_of_its_folder_writes_nothing(
    trained: Project, server: str, where: str, how: str
) -> None:
    trained.env["PREFECT_API_URL"] = server
    outside = trained.root.parent / "escaped.txt"
    name = "../../../escaped.txt" if how == "in place" else str(outside)
    forged = plant(trained, where, name)
    told = check(trained, "--repair", status=1)
    assert told.named("dangerous") == {forged}
    assert told.named("damaged") == told.named("missing") == set()
    shutil.rmtree(trained.root / "data/tokens")
    if where == "run-cache":
        (trained.root / "dvc.lock").unlink()
    words = ["--isolated"] if how == "isolated" else []
    done = trained.retrain(*words, "--train.max-steps", "1", status=1)
    assert "which is outside the folder or behind a link" in done.stderr
    assert not list(trained.root.parent.rglob("escaped.txt"))


@pytest.mark.slow
def test_a_record_that_names_another_output_writes_nothing(trained: Project, server: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    for record in (trained.root / ".dvc/cache/runs").glob("*/*/*"):
        record.write_text(
            record.read_text("utf-8").replace("path: data/ingested", "path: ../escaped"), "utf-8"
        )
    (trained.root / "dvc.lock").unlink()
    shutil.rmtree(trained.root / "data/ingested")
    done = trained.retrain(status=1)
    assert "its output '../escaped' is outside the checkout" in done.stderr
    assert not (trained.root.parent / "escaped").exists()
