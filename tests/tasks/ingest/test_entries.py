"""What stands in a folder besides files: refused by its name, before anybody opens it and waits for ever."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.engine.data import located
from flows.ledger.data import content_of_source, import_data, update_data
from flows.ledger.sources import name_in_raw
from flows.ledger.stages import Ledger
from tasks.ingest.readers import read
from tasks.shared.base_models import fetch, resolve
from tasks.shared.entries import matching, refuse_odd_entries
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Model, Params
from tests.support.outside import ROWS, make_checkout, wanted


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which nothing has run, and beside it a folder `me`."""
    return make_checkout(tmp_path, monkeypatch)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(path))


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a named pipe": (lambda folder: os.mkfifo(folder / "odd.csv"), r"odd.csv' is a named pipe.*remove it"),
    "a hidden pipe": (lambda folder: os.mkfifo(folder / ".odd"), r".odd' is a named pipe"),
    "a socket": (lambda folder: bound(folder / "odd.csv"), r"odd.csv' is a socket"),
    "a link to a device": (
        lambda folder: (folder / "odd.csv").symlink_to("/dev/zero"),
        r"odd.csv.*leads to '/dev/zero'",
    ),
    "a link out": (
        lambda folder: (folder / "odd.csv").symlink_to("/etc/passwd"),
        r"odd.csv: leads to '/etc/passwd'",
    ),
    "a linked folder outside": (lambda folder: (folder / "odd").symlink_to("/etc"), r"odd: leads to '/etc'"),
    "a link to nothing": (
        lambda folder: (folder / "odd.csv").symlink_to("gone"),
        r"odd.csv' is a link to gone",
    ),
    "a link to itself": (
        lambda folder: (folder / "odd.csv").symlink_to("odd.csv"),
        r"odd.csv' is a link to odd.csv",
    ),
    "a name that is not UTF-8": (
        lambda folder: (folder / os.fsdecode(b"caf\xe9")).touch(),
        r"caf\ufffd', whose name is not",
    ),
}


def folder_with(odd: str, folder: Path) -> str:
    """Make a folder of data with something odd deep in it; return what its refusal says."""
    below = folder / "2026" / "01"
    below.mkdir(parents=True)
    (folder / "a.csv").write_text(ROWS)
    make, says = ODD[odd]
    make(below)
    return says


@pytest.mark.parametrize("odd", ODD)
def test_what_cannot_be_read_kept_or_trusted_is_refused_wherever_a_folder_is_given(
    odd: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    says = folder_with(odd, tmp_path / "given")
    with pytest.raises(InputError, match=says):
        name_in_raw("given")
    with pytest.raises(InputError, match=says):
        located(Params(data=Data(path="given")), tmp_path, tmp_path, isolated=False)
    model = shutil.copytree(tiny_model, tmp_path / "model")
    ODD[odd][0](model)
    for call in (resolve, fetch):
        with pytest.raises(InputError, match=f"model.name: in '{model}', .*{says}"):
            call(Model(name=str(model), revision="sha256:anything"))


def test_links_within_a_folder_and_to_contents_in_the_hubs_cache_are_none_of_that(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "hub/models--me--mine/snapshots/abc"
    blobs = folder.parent.parent / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    for file in tiny_model.iterdir():
        shutil.copy(file, blobs / file.name)
        (folder / file.name).symlink_to(f"../../blobs/{file.name}")
    assert fetch(resolve(Model(name=str(folder)))) == folder
    (folder / "vocab.txt").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="leads to '/etc/passwd'"):
        resolve(Model(name=str(folder)))
    inside = tmp_path / "data"
    inside.mkdir()
    (inside / "a.csv").write_text(ROWS)
    (inside / "b.csv").symlink_to("a.csv")
    (inside / "same").symlink_to(".")
    refuse_odd_entries(inside)


@pytest.mark.parametrize("source", ["/dev/zero", "pipe.csv", "link.csv"])
def test_a_pipe_or_a_device_is_no_data(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.csv")
    Path("link.csv").symlink_to("pipe.csv")
    with pytest.raises(InputError, match=r"is a (named pipe|device), which cannot be read to an end"):
        name_in_raw(source)
    with pytest.raises(InputError, match=r"is a (named pipe|device), which cannot be read to an end"):
        located(Params(data=Data(path=source)), tmp_path, tmp_path, isolated=False)
    with pytest.raises(InputError, match=r"is a (named pipe|device), which cannot be read to an end"):
        read(Data(path=source, format="csv"))


def test_a_match_that_is_a_pipe_or_leads_out_is_refused_in_folders_and_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("given").mkdir()
    Path("given/a.csv").write_text(ROWS)
    for make, says in (
        (os.mkfifo, "is a named pipe"),
        (lambda path: path.symlink_to("/etc/passwd"), "leads to '/etc/passwd'"),
    ):
        make(Path("given/b.csv"))
        with pytest.raises(InputError, match=says):
            name_in_raw("given/*.csv")
        with pytest.raises(InputError, match=says):
            read(Data(path="given", files="*.csv"))
        Path("given/b.csv").unlink()


REFUSED_PATTERNS = ["", ".", "./", "**x", "a**/b", "/x*", "//x*", "x" * 300, "a/" * 2000 + "*", "a\0b"]


@pytest.mark.parametrize("pattern", REFUSED_PATTERNS, ids=range(len(REFUSED_PATTERNS)))
def test_a_pattern_that_python_refuses_is_refused_in_a_sentence_or_matches_nothing(
    pattern: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    if Path(pattern).name == "a\0b":
        assert matching(tmp_path, pattern, "data.files") == []
    else:
        with pytest.raises(InputError, match=r"data.files: .*give one such as '\*.csv'"):
            matching(tmp_path, pattern, "data.files")
    for files in (pattern, f"{pattern}#rows"):
        if files:
            with pytest.raises(InputError, match=r"data\.(files|path)"):
                read(Data(path=str(tmp_path), files=files))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "a\nb", "\ud800", "\x1b[2J"])
def test_a_name_that_is_none_for_a_folder_entry_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"cannot name a folder entry in data/raw; .*retrain add"):
        name_in_raw("https://host/x.csv" if name else "https://host", name or None)


@pytest.mark.slow
def test_a_source_that_has_got_a_pipe_since_it_was_brought_in_is_refused_when_its_newer_state_is_asked(
    checkout: Path,
) -> None:
    exports = checkout.parent / "me/exports"
    import_data(Ledger(checkout), str(exports), "exports")
    os.mkfifo(exports / "new.csv")
    for ask in (content_of_source, update_data):
        with pytest.raises(InputError, match=r"new.csv' is a named pipe"):
            ask(Ledger(checkout), "data/raw/exports")
    with pytest.raises(InputError, match=r"new.csv' is a named pipe"):
        located(wanted(str(exports)), checkout, checkout, isolated=False)


def test_the_sentence_of_an_error_holds_nothing_that_a_terminal_or_a_database_takes_amiss() -> None:
    said = str(InputError("a\ud800b \x1b[2Jc\0d\te\u200f\u00e9\U0001f600\nnext"))
    assert said == "a\\ud800b \\x1b[2Jc\\x00d\\te\\u200f\u00e9\U0001f600\nnext"
