"""Where data may come from: only what was named is brought in, and it is called what its reader needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from flows.engine.data import add, located, with_data
from flows.engine.workspace import root
from flows.git.commands import git
from flows.git.uncommitted import uncommitted
from flows.ledger.data import _put, content_of_source, import_data, update_data
from flows.ledger.sources import expand_home, name_in_raw, pattern_in
from flows.ledger.stages import Ledger
from flows.report.plan import Plan, foresee
from tasks.shared.errors import InputError
from tasks.shared.params_file import Layer
from tests.support.outside import ROWS, make_checkout, wanted


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which nothing has run, and beside it a folder `me`."""
    return make_checkout(tmp_path, monkeypatch)


def foreseen(path: str, checkout: Path, *, isolated: bool) -> Plan:
    return foresee([Layer("words", {"data": {"path": path}})], checkout, lambda _: None, isolated=isolated)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cached(checkout: Path) -> list[str]:
    """Return what the DVC cache holds."""
    return [path.read_text("utf-8") for path in (checkout / ".dvc/cache/files").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "given",
    ["old [1]/t.csv", "*.parquet", "ex*/2024-*.csv", "[x]/[y]/*", "exports/../*.nothing", "~nobody/*.csv"],
)
def test_a_pattern_that_matches_nothing_is_refused_and_no_folder_is_touched(
    checkout: Path, given: str
) -> None:
    path = str(checkout.parent / "me" / given)
    for isolated in (False, True):
        with pytest.raises(InputError, match=r"no file matches|no file or folder"):
            foreseen(path, checkout, isolated=isolated)
    with pytest.raises(InputError, match=r"no file matches|no file or folder"):
        add(path, None, checkout, print)
    assert cached(checkout) == []
    assert git(checkout, "status", "--porcelain") == ""


def test_only_what_matches_a_pattern_is_brought_in_and_the_same_command_takes_in_what_is_new(
    checkout: Path,
) -> None:
    exports = checkout.parent / "me/exports"
    path = str(exports / "2026-*.csv")
    params, source = located(wanted(path), checkout, checkout, isolated=False)
    assert source == path
    assert params.data.files == "2026-*.csv"
    assert foreseen(path, checkout, isolated=False).notes == [
        f"{path} would be brought in as data/raw/exports first"
    ]
    said: list[str] = []
    assert add(path, None, checkout, said.append) == "data/raw/exports"
    raw = checkout / "data/raw/exports"
    assert files_in(raw) == ["2026-01.csv", "2026-02.csv"]
    assert "is now in data/raw/exports" in said[0]
    assert "diary" not in "".join(cached(checkout))

    add(path, None, checkout, said.append)
    assert "is unchanged in data/raw/exports" in said[1]
    ledger = Ledger(checkout)
    before = content_of_source(ledger, "data/raw/exports")
    assert update_data(ledger, "data/raw/exports") == []
    (exports / "2026-03.csv").write_text(ROWS + "new")
    (exports / "2026-01.csv").unlink()
    assert content_of_source(Ledger(checkout), "data/raw/exports") != before
    assert update_data(Ledger(checkout), "data/raw/exports") == ["data/raw/exports.dvc"]
    assert files_in(raw) == ["2026-02.csv", "2026-03.csv"]

    other = str(exports / "2025-*.csv")
    with pytest.raises(InputError) as refused:
        add(other, None, checkout, print)
    assert f"retrain add '{other}' NAME" in str(refused.value)
    assert add(other, "older", checkout, print) == "data/raw/older"


@pytest.mark.parametrize("given", ["2026-*.csv", "2026-01.csv"], ids=["a pattern", "a file"])
def test_what_was_edited_by_hand_is_refused_before_anything_takes_its_place(
    checkout: Path, given: str
) -> None:
    source = checkout.parent / "me/exports/2026-01.csv"
    path = str(source.with_name(given))
    raw = checkout / add(path, None, checkout, print)
    edited = raw / source.name if raw.is_dir() else raw
    edited.write_text(ROWS + "mended by hand")
    source.write_text(ROWS + "newer")
    remedy = (
        rf"{raw.name} has changed since DVC recorded it; `dvc add data/raw/{raw.name}` .* or move it away"
    )
    with pytest.raises(InputError, match=remedy):
        add(path, None, checkout, print)
    with pytest.raises(InputError, match=remedy):
        update_data(Ledger(checkout), "data/raw")
    assert edited.read_text() == ROWS + "mended by hand"
    raw.rename(checkout.parent / "mended")
    assert update_data(Ledger(checkout), "data/raw") == [f"data/raw/{raw.name}.dvc"]
    assert edited.read_text() == ROWS + "newer"


def test_data_that_is_just_arriving_is_in_nobodys_way_nor_is_what_a_kill_has_left_of_it(
    checkout: Path,
) -> None:
    # of DVC itself
    half = checkout / "data/raw/.xtfjEGRoBSIo_q0-91ymKw.tmp"
    left = checkout / ".retrain/arriving/half"
    left.mkdir(parents=True)
    for file in (half, left / "half.csv"):
        file.touch()
        os.truncate(file, 60_000_000)

    def fill(folder: Path) -> None:
        (folder / "rows.csv").write_text(ROWS)
        assert uncommitted(checkout, pytest.fail).tree is None

    assert _put(Ledger(checkout), checkout / "data/raw/new", fill, {})
    assert files_in(checkout / "data/raw/new") == ["rows.csv"]
    assert not left.parent.exists()


def test_a_data_folder_that_is_a_link_to_another_disk_is_inside(checkout: Path) -> None:
    disk = checkout.parent / "disk"
    (checkout / "data/raw").rename(disk)
    (checkout / "data/raw").symlink_to(disk)
    assert located(wanted("data/raw/tickets.csv"), checkout, checkout, isolated=False)[1] is None
    content = content_of_source(Ledger(checkout), "data/raw/tickets.csv")
    with (disk / "tickets.csv").open("a") as file:
        file.write("one more,order,2026-01-01\n")
    assert content_of_source(Ledger(checkout), "data/raw/tickets.csv") != content
    with pytest.raises(
        InputError, match=r"data/raw is a link to .*disk, and DVC brings nothing into a linked folder"
    ):
        add("data/raw/tickets.csv", None, checkout, print)


@pytest.mark.parametrize("place", ["data/exports", "../exports"])
def test_links_that_dvc_would_stop_on_or_pass_over_are_refused_before_anything_runs(
    checkout: Path, place: str
) -> None:
    folder = checkout / place
    folder.mkdir()
    (folder / "a.csv").write_text(ROWS)
    (folder / "latest.csv").symlink_to("a.csv")
    located(wanted(place), checkout, checkout, isolated=False)
    (folder / "elsewhere").symlink_to(checkout.parent / "me")
    with pytest.raises(InputError, match=r"elsewhere: leads to '.*me'"):
        located(wanted(place), checkout, checkout, isolated=False)
    (folder / "elsewhere").unlink()
    (folder / "b.csv").symlink_to("gone.csv")
    with pytest.raises(
        InputError, match=r"b.csv' is a link to gone.csv, which is not there; mend or remove it"
    ):
        located(wanted(place), checkout, checkout, isolated=False)


@pytest.mark.parametrize("given", ["x" * 300, "~/" + "y" * 300 + "/*.csv"], ids=["a file", "a pattern"])
def test_a_path_that_no_file_can_have_is_refused_in_one_sentence(checkout: Path, given: str) -> None:
    with pytest.raises(InputError, match=r"cannot be looked at \(File name too long\)"):
        add(given, None, checkout, print)
    with pytest.raises(InputError, match=r"cannot be looked at \(File name too long\)"):
        foreseen(given, checkout, isolated=False)


def test_a_name_with_signs_is_itself_where_something_is_called_so(checkout: Path) -> None:
    odd = checkout.parent / "me/old [1]"
    odd.mkdir()
    (odd / "what?.csv").write_text(ROWS)
    assert pattern_in(str(odd / "what?.csv"), checkout) is None
    inside = pattern_in(str(odd / "*.csv"), checkout)
    assert inside is not None
    assert (inside.folder, inside.glob) == (odd, "*.csv")
    assert add(str(odd / "what?.csv"), None, checkout, print) == "data/raw/what?.csv"
    assert add(str(odd) + "/", None, checkout, print) == "data/raw/old [1]"
    assert files_in(checkout / "data/raw/old [1]") == ["what?.csv"]


def test_a_pattern_inside_the_checkout_is_split_into_folder_and_files(checkout: Path) -> None:
    params, source = located(wanted("data/raw/tick*.csv"), checkout, checkout, isolated=True)
    assert (params.data.path, params.data.files, source) == ("data/raw", "tick*.csv", None)
    split = with_data(wanted("data/raw/tick*.csv"), train_file="tickets.csv", test_file="tickets.csv")
    with pytest.raises(InputError, match=r"is a pattern, but .*--data.path data/raw"):
        located(split, checkout, checkout, isolated=False)
    with pytest.raises(InputError, match=r"no file matches '.*data/raw/none-"):
        located(wanted("data/raw/none-*.csv"), checkout, checkout, isolated=False)


def test_a_tilde_that_no_shell_has_read_is_the_home_folder(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(checkout.parent / "me"))
    assert located(wanted("~/diary.csv"), checkout, checkout, isolated=False)[1] == str(
        checkout.parent / "me/diary.csv"
    )
    (checkout / "~").mkdir()
    assert expand_home("~", checkout) == "~"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://host/x.csv?download=true", "x.csv"),
        ("https://host/a/x.csv#rows", "x.csv"),
        ("https://host/my%20file.csv?a=[1]&b=*/c", "my file.csv"),
        ("https://host/exports/", "exports"),
        ("HTTP://host/x.csv?y", "x.csv"),
        ("s3://bucket/what?.csv", "what?.csv"),
        ("gs://bucket/50%25.csv", "50%25.csv"),
        ("ssh://me@host/exports/[1]/", "[1]"),
    ],
)
def test_a_url_is_no_pattern_and_its_name_ends_as_its_reader_needs(
    checkout: Path, url: str, name: str
) -> None:
    assert pattern_in(url, checkout) is None
    assert located(wanted(url), checkout, checkout, isolated=False)[1] == url
    assert name_in_raw(url) == name


@pytest.mark.parametrize(
    "url", ["http://host", "https://host/?id=3", "https://host/a%2Fb", "https://host/.."]
)
def test_a_url_that_names_no_file_asks_for_a_name(url: str) -> None:
    with pytest.raises(InputError, match=r"cannot name.*retrain add .*NAME"):
        name_in_raw(url)


@contextmanager
def web(content: str) -> Iterator[str]:
    """Serve one file at x.csv, which asks for a query, as a download does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(content.encode())

        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/x.csv?download=true" else 404)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x.csv?download=true"
    server.shutdown()
    server.server_close()


def test_a_web_address_with_a_query_is_downloaded(checkout: Path) -> None:
    with web(ROWS) as url:
        assert add(url, None, checkout, print) == "data/raw/x.csv"
        assert (checkout / "data/raw/x.csv").read_text("utf-8") == ROWS
        assert not import_data(Ledger(checkout), url, "x.csv"), "the same again is nothing new"


def test_data_whose_name_is_not_utf8_is_refused_in_one_sentence_and_other_files_of_such_names_do_not_matter(
    checkout: Path,
) -> None:
    odd = os.fsdecode(b"caf\xe9.csv")
    outside = checkout.parent / "me/exports"
    for folder in (checkout, outside, checkout / "data/raw"):
        (folder / odd).write_text(ROWS)
    refused = [str(outside), str(outside / "*.csv"), "data/raw"]
    for path in refused:
        with pytest.raises(InputError, match=r"caf\ufffd.csv', whose name is not UTF-8"):
            foreseen(path, checkout, isolated=False)
    with pytest.raises(InputError, match="whose name is not UTF-8"):
        add(str(outside / odd), None, checkout, print)
    assert len(foreseen("data/raw/tickets.csv", checkout, isolated=True).stages) == 7


def test_data_in_a_repository_inside_the_checkout_is_brought_in_by_an_isolated_run(checkout: Path) -> None:
    inner = checkout / "theirs"
    inner.mkdir()
    (inner / "t.csv").write_text(ROWS)
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "theirs")):
        git(inner, *words)
    assert located(wanted("theirs/t.csv"), checkout, checkout, isolated=True)[1] == str(inner / "t.csv")
    assert located(wanted("theirs/*.csv"), checkout, checkout, isolated=True)[1] == str(inner / "*.csv")
    assert located(wanted("theirs/t.csv"), checkout, checkout, isolated=False)[1] is None


def test_a_checkout_in_a_folder_whose_name_is_not_utf8_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9") / "checkout"
    odd.mkdir(parents=True)
    (odd / "dvc.yaml").touch()
    monkeypatch.chdir(odd)
    with pytest.raises(InputError, match=r"caf\ufffd', whose name is not UTF-8; rename it"):
        root()


@pytest.mark.parametrize("path", [".", "data", "..", "*.csv", "data/*/tickets.csv", "/"])
def test_a_folder_in_which_runs_write_is_no_data(checkout: Path, path: str) -> None:
    (checkout / "mine.csv").write_text(ROWS)
    with pytest.raises(InputError, match="holds what runs write"):
        foreseen(path, checkout, isolated=False)
    if "*" not in path:
        with pytest.raises(InputError, match="holds what runs write"):
            add(path, "all", checkout, print)
    assert cached(checkout) == []
