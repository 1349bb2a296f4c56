"""Small files: the same bytes everywhere, digests of what counts, and no half-written text."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.shared.errors import InputError
from tasks.shared.files import (
    digests,
    folder_digest,
    made_once,
    own_folder,
    private_folder,
    read_json,
    replace,
    rounded,
    sha256,
    write_json,
)
from tests.support.project import ROOT


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_json_is_written_readable_in_its_own_order_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/a.json"
    write_json(path, {"z": "é", "a": [1, None, True], "m": {"b": 1 / 3}})
    assert (
        path.read_text("utf-8")
        == '{\n  "z": "é",\n  "a": [\n    1,\n    null,\n    true\n  ],\n  "m": {\n    "b": 0.333333\n  }\n}\n'
    )
    assert read_json(path) == {"z": "é", "a": [1, None, True], "m": {"b": 0.333333}}


def test_floats_are_rounded_wherever_they_stand() -> None:
    assert rounded({"a": [0.12345678, (1.00000001, "x")], "b": {"c": 2.5}, "d": True, "e": 7}) == {
        "a": [0.123457, [1.0, "x"]],
        "b": {"c": 2.5},
        "d": True,
        "e": 7,
    }


def test_sums_in_another_order_round_to_the_same_text() -> None:
    assert rounded(0.1 + 0.2) == rounded(0.3)


@pytest.mark.parametrize("value", [1e-8, 2e-7, 5e-6, 1.5e-12])
def test_a_small_number_such_as_adam_epsilon_is_not_written_as_nothing(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "provenance.json", {"params": {"train": {"adam_epsilon": value}}})
    assert read_json(tmp_path / "provenance.json")["params"]["train"]["adam_epsilon"] == value


def test_digests_are_sorted_by_path_and_leave_out_hidden_files_and_byte_code(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "b.txt": "b",
            "a/z.txt": "z",
            "a/.hidden": "",
            ".git/HEAD": "",
            "__pycache__/x.pyc": "",
            "a/__pycache__/y.pyc": "",
        },
    )
    found = digests(tmp_path)
    assert list(found) == ["a/z.txt", "b.txt"]
    assert found["b.txt"] == hashlib.sha256(b"b").hexdigest() == sha256(tmp_path / "b.txt")


def test_a_folder_digest_changes_with_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    files = {"a.txt": "1", "b/c.txt": "2"}
    one = folder_digest(tree(tmp_path / "one", files))
    assert one == folder_digest(tree(tmp_path / "elsewhere/two", dict(reversed(files.items()))))
    assert one == folder_digest(tree(tmp_path / "one", {".DS_Store": "x"}))
    others = [
        {"a.txt": "1", "b/c.txt": "3"},
        {"a.txt": "1", "b/d.txt": "2"},
        {"a.txt": "1"},
        {**files, "d.txt": ""},
        {"a.txt": "2", "b/c.txt": "1"},
    ]
    found = {folder_digest(tree(tmp_path / f"other {i}", other)) for i, other in enumerate(others)}
    assert len(found | {one}) == len(others) + 1


def test_a_folder_digest_is_what_sha256sum_makes_of_its_listing(tmp_path: Path) -> None:
    tree(tmp_path, {"a.txt": "1", "b.txt": "2"})
    listing = subprocess.run(
        ["sha256sum", "a.txt", "b.txt"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert folder_digest(tmp_path) == hashlib.sha256(listing).hexdigest()


def test_replacing_leaves_the_new_text_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    replace(path, "old")
    replace(path, "new é")
    assert path.read_text("utf-8") == "new é"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_write_one_file_at_once_all_do(tmp_path: Path) -> None:
    path = tmp_path / "file"
    theirs = (
        "import pathlib, sys; from tasks.shared.files import replace; replace(pathlib.Path(sys.argv[1]), '')"
    )

    def opener(part: str, flags: int) -> int:
        opened = os.open(part, flags, 0o600)
        subprocess.run([sys.executable, "-c", theirs, str(path)], cwd=ROOT, check=True)
        return opened

    replace(path, "ours", opener)
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    replace(path, "old")
    with pytest.raises(UnicodeEncodeError):
        replace(path, "half \ud83d")
    assert path.read_text("utf-8") == "old"


def test_a_folder_is_made_once_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep/made"

    def write(part: Path) -> None:
        (part / "a").write_text("1")

    def stop(part: Path) -> None:
        write(part)
        raise KeyboardInterrupt

    def meanwhile(part: Path) -> None:
        write(part)
        made_once(folder, write)

    with pytest.raises(KeyboardInterrupt):
        made_once(folder, stop)
    assert list(folder.parent.iterdir()) == []
    # what a process of any number has left when it was killed
    (folder.parent / f"made.{os.getpid()}.part").mkdir()
    assert made_once(folder, meanwhile) == folder
    assert made_once(folder, stop) == folder
    assert (folder / "a").read_text() == "1"
    assert {path.name for path in folder.parent.iterdir()} == {"made", f"made.{os.getpid()}.part"}


def test_text_is_utf8_whatever_the_locale_says(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from tasks.shared.files import write_json; write_json(Path({str(tmp_path / 'a.json')!r}), {{'a': '\\u00e9'}})"
    subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        cwd=ROOT,
        env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        check=True,
    )
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"a": "é"}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("stands_there", ["a link to a folder", "a link to nothing", "a file"])
def test_a_folder_in_a_place_that_others_write_to_is_no_link(tmp_path: Path, stands_there: str) -> None:
    home, made = tree(tmp_path / "home", {"thesis.txt": "years"}), tmp_path / "retrain-1000"
    home.chmod(0o755)
    if stands_there == "a file":
        made.touch()
    else:
        made.symlink_to(home if stands_there == "a link to a folder" else tmp_path / "nothing")
    with pytest.raises(
        InputError, match=r"retrain-1000 is no folder of this user .*; remove it, or set TMPDIR"
    ):
        own_folder(made)
    assert mode(home) == 0o755
    made.unlink()
    assert own_folder(made) == made
    made.chmod(0o777)
    assert mode(own_folder(made)) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_what_another_user_has_made_is_refused(tmp_path: Path) -> None:
    shared, home = tmp_path / "tmp", tree(tmp_path / "home", {"a": ""})
    shared.mkdir(mode=0o1777)
    theirs, link = shared / "folder", shared / "link"
    theirs.mkdir(mode=0o777)
    link.symlink_to(home)
    for path in (theirs, link):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    with pytest.raises(InputError, match=r"folder is no folder of this user \(it belongs to another one\)"):
        own_folder(theirs)
    with pytest.raises(InputError, match="link is a link that another user has made; remove it"):
        private_folder(link)
    # whoever has the folder around may link what is in it
    os.chown(shared, 12345, 12345)
    assert private_folder(link) == link
    os.chown(link, 0, 0, follow_symlinks=False)
    assert mode(private_folder(link)) == 0o700
