"""Pictures on their way through ingest: found, looked at, kept by their content, or rejected with a reason."""

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from tasks import problems
from tasks.ingest import ingest
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths
from tests.support.pictures import picture, saved

PICTURES = problems.load("image_classification")


def taken(
    folder: Path, *, path: str = "raw", ingest_: dict[str, Any] | None = None, **data: Any
) -> pl.DataFrame:
    """Ingest what stands in a folder and return the rows."""
    params = Ingest(**{"max_rejected": 0.99, **(ingest_ or {})})
    ingest(Data(path=str(folder / path), **data), params, PICTURES, Paths(folder))
    return pl.read_parquet(folder / "data/ingested/rows.parquet")


def rejected(folder: Path) -> dict[str, str]:
    """Return why each file is rejected."""
    table = pl.read_ndjson(folder / "data/ingested/rejected.jsonl")
    return dict(zip(table["file"], table["reason"], strict=True))


def put(folder: Path, name: str, content: bytes) -> Path:
    file = folder / "raw" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def plain(size: tuple[int, int] = (20, 10)) -> Image.Image:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2] = (250, 10, 10)
    return Image.fromarray(pixels)


def kept(folder: Path, rows: pl.DataFrame) -> Image.Image:
    (name,) = rows["image"]
    return Image.open(folder / "data/media" / name)


def test_folders_are_labels_and_files_are_known_by_their_content(tmp_path: Path) -> None:
    for number, name in enumerate(("cat/a.png", "cat/b.png", "dog/c.png")):
        put(tmp_path, name, picture(number))
    put(tmp_path, "cat/again.png", picture(0))
    rows = taken(tmp_path)
    assert rows["label"].to_list() == ["cat", "cat", "dog"]
    digest = hashlib.sha256(picture(0)).hexdigest()
    assert rows["image"][0] == f"{digest[:2]}/{digest}.png"
    assert (tmp_path / "data/media" / rows["image"][0]).read_bytes() == picture(0)
    assert rows["source_media"].to_list() == ["cat/a.png", "cat/b.png", "dog/c.png"]
    assert rows["image_width"].to_list() == [24, 24, 24]
    assert rejected(tmp_path) == {"cat/again.png": rejected(tmp_path)["cat/again.png"]}
    described = read_json(tmp_path / "metrics/ingest.json")["columns"]["image"]
    assert described["files"] == 3
    assert described["width"]["p50"] == 24


def test_the_path_of_a_file_says_what_media_path_names(tmp_path: Path) -> None:
    put(tmp_path, "0_george_1.png", picture(1))
    put(tmp_path, "7_lucas_12.png", picture(2))
    rows = taken(tmp_path, media_path="{label}_{speaker}_{}.png")
    assert rows.select("label", "speaker").rows() == [("0", "george"), ("7", "lucas")]


def test_a_table_names_files_beside_it(tmp_path: Path) -> None:
    put(tmp_path, "one/0.png", picture(1))
    put(tmp_path, "two/0.png", picture(2))
    for name in ("one", "two"):
        put(tmp_path, f"{name}/rows.json", f'[["{name}", 0], ["{name}", 9]]'.encode())
    rows = taken(tmp_path, column_names=["label", "image"], media_path="{}.png")
    assert rows["source_media"].to_list() == ["one/0.png", "two/0.png"]
    assert "there is no such file: 9" in rejected(tmp_path)["one/rows.json"]


def test_a_table_that_names_no_file_has_no_row(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", b'{"image": null, "label": "a"}\n{"image": null, "label": "b"}\n')
    put(tmp_path, "b.csv", b"image,label\n0.png,a\n")
    put(tmp_path, "0.png", picture(1))
    assert taken(tmp_path)["source_media"].to_list() == ["0.png"]
    (tmp_path / "raw/b.csv").unlink()
    with pytest.raises(InputError, match=r"2 of 2 rows are rejected, .* 2 image: missing"):
        taken(tmp_path)


def test_a_pattern_that_cannot_find_files_is_a_sentence(tmp_path: Path) -> None:
    put(tmp_path, "one/0.png", picture(1))
    put(tmp_path, "rows.csv", b"image,kind\n0,a\n")
    for pattern, said in {
        "{label}.png": "nothing stands for what a row says, such as '0'",
        "{kind}/{}.png": "a column 'kind' already",
        "{source_media}/{}.png": "a column 'source_media' already",
    }.items():
        with pytest.raises(InputError, match=f"data.media_path: .*{said}"):
            taken(tmp_path, media_path=pattern, columns={"label": "kind"} if "label" in said else {})
    (tmp_path / "raw/rows.csv").unlink()
    with pytest.raises(InputError, match="a column 'source_split' already"):
        taken(tmp_path, media_path="{source_split}/{}.png")
    assert taken(tmp_path, media_path="{said}/{label}.png").select("said", "label").rows() == [("one", "0")]


def test_a_part_of_the_path_of_a_named_file_is_a_column(tmp_path: Path) -> None:
    put(tmp_path, "images/glass/g1.png", picture(1))
    put(tmp_path, "images/paper/p1.png", picture(2))
    put(tmp_path, "images/metal/p1.png", picture(3))
    put(tmp_path, "splits/train.txt", b"g1.png 1\np1.png 2\n")
    rows = taken(
        tmp_path,
        files="splits/*.txt",
        format="csv",
        delimiter=" ",
        header=False,
        column_names=["image", "number"],
        media_path="../images/{label}/{}",
    )
    assert rows.select("label", "number").rows() == [("glass", "1")]
    # two files are called so
    assert "there is no such file: p1.png" in rejected(tmp_path)["splits/train.txt"]


def test_alternatives_in_braces_make_splits(tmp_path: Path) -> None:
    for index in (0, 4, 5, 9, 10, 49):
        put(tmp_path, f"a_{index}.png", picture(index))
    rows = taken(
        tmp_path, media_path="{label}_{}.png", train_file="*_{[5-9],[1-4][0-9]}.png", test_file="*_[0-4].png"
    )
    assert dict(zip(rows["source_media"], rows["source_split"], strict=True)) == {
        "a_0.png": "test",
        "a_4.png": "test",
        "a_10.png": "train",
        "a_49.png": "train",
        "a_5.png": "train",
        "a_9.png": "train",
    }


def test_only_rows_with_labels_that_are_named_are_taken(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.png", picture(1))
    put(tmp_path, "dog/b.png", picture(2))
    assert taken(tmp_path, ingest_={"labels": ["dog"]})["label"].to_list() == ["dog"]
    assert rejected_count(tmp_path) == 0
    with pytest.raises(InputError, match="no row has one of bird; there are cat, dog"):
        taken(tmp_path, ingest_={"labels": ["bird"]})


def test_columns_of_a_user_are_never_taken_for_ours(tmp_path: Path) -> None:
    put(tmp_path, "good.png", picture(1))
    put(tmp_path, "damaged.png", b"no picture at all")
    head = "image,label,reason,kept,image_width,changed,said,place"
    lines = [f"{name}.png,a,because,no,7,x,y,z" for name in ("good", "damaged")]
    put(tmp_path, "rows.csv", "\n".join([head, *lines]).encode())
    rows = taken(tmp_path, ingest_={"max_rows": 1})
    assert rows["source_media"].to_list() == ["good.png"]
    assert (tmp_path / "data/media" / rows["image"][0]).exists()
    assert rows.select("reason", "kept", "raw_image_width", "image_width").row(0) == (
        "because",
        "no",
        "7",
        24,
    )
    assert read_json(tmp_path / "data/ingested/columns.json")["image_width"] == "raw_image_width"
    assert rejected(tmp_path)["rows.csv"].startswith("image: no picture that can be read")
    (reject,) = pl.read_ndjson(tmp_path / "data/ingested/rejected.jsonl")["values"]
    assert (reject["reason"], reject["kept"]) == ("because", "no")
    described = read_json(tmp_path / "metrics/ingest.json")["columns"]["image"]
    assert described["width"]["p50"] == 24


def rejected_count(folder: Path) -> int:
    return len((folder / "data/ingested/rejected.jsonl").read_text("utf-8").splitlines())


def odd(name: str) -> bytes:
    """Return a picture that is to be turned, or is otherwise no plain one."""
    rgb = plain()
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, Callable[[], bytes]] = {
        "turned.jpg": lambda: saved(rgb, "JPEG", exif=exif),
        "transparent.png": lambda: saved(Image.new("RGBA", (20, 10), (250, 10, 10, 0))),
        "palette.gif": lambda: saved(rgb.convert("P"), "GIF"),
        "sixteen.png": lambda: saved(Image.fromarray(np.full((10, 20), 40_000, np.uint16))),
        "cmyk.jpg": lambda: saved(rgb.convert("CMYK"), "JPEG"),
        "moving.gif": lambda: saved(rgb, "GIF", save_all=True, append_images=[rgb.rotate(180)]),
        "bits.tif": lambda: saved(rgb.convert("1"), "TIFF"),
        "grey.png": lambda: saved(rgb.convert("LA")),
    }
    return made[name]()


@pytest.mark.parametrize(
    ("name", "size", "first"),
    [
        ("turned.jpg", (10, 20), (249, 10, 11)),
        ("transparent.png", (20, 10), (255, 255, 255)),
        ("palette.gif", (20, 10), (250, 10, 10)),
        ("sixteen.png", (20, 10), (155, 155, 155)),
        ("cmyk.jpg", (20, 10), (250, 10, 10)),
        ("moving.gif", (20, 10), (250, 10, 10)),
        ("bits.tif", (20, 10), (255, 255, 255)),
        ("grey.png", (20, 10), (81, 81, 81)),
    ],
)
def test_what_is_no_plain_picture_is_kept_as_one(
    tmp_path: Path, name: str, size: tuple[int, int], first: tuple[int, int, int]
) -> None:
    put(tmp_path, f"red/{name}", odd(name))
    rows = taken(tmp_path)
    image = kept(tmp_path, rows)
    assert (image.format, image.size, image.mode in ("L", "RGB")) == ("PNG", size, True)
    assert image.convert("RGB").getpixel((1, 1)) == pytest.approx(first, abs=40)
    assert "kept as plain ones" in read_json(tmp_path / "metrics/ingest.json")["notes"][0]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("WEBP", "webp"), ("PPM", "ppm"), ("TIFF", "tif")],
)
def test_plain_pictures_stay_as_they_are_whatever_their_ending(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    content = saved(plain(), kind)
    put(tmp_path, "red/wrong.jpeg", content)
    (name,) = taken(tmp_path)["image"]
    assert name.endswith(f".{suffix}")
    assert (tmp_path / "data/media" / name).read_bytes() == content


def bomb(side: int = 40_000) -> bytes:
    """Return a PNG that says in a few bytes that it is of so many pixels on each side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def test_faulty_files_are_rejected_rows_with_a_reason(tmp_path: Path) -> None:
    whole = saved(plain((64, 64)), "JPEG")
    put(tmp_path, "a/good.png", picture(1))
    put(tmp_path, "a/truncated.jpg", whole[: -len(whole) // 8])
    put(tmp_path, "a/empty.png", b"")
    put(tmp_path, "a/line.png", saved(plain((303, 3))))
    put(tmp_path, "a/text.jpg", b"no picture at all")
    put(tmp_path, "a/bomb.png", bomb())
    put(tmp_path, "a/script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    floats = Image.fromarray(np.ones((4, 4), np.float32))
    put(tmp_path, "a/floats.tif", saved(floats, "TIFF"))
    (tmp_path / "outside.png").write_bytes(picture(2))
    (tmp_path / "raw/a/link.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "raw/a/gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "raw/a/pipe.png")
    rows = taken(tmp_path)
    assert rows["source_media"].to_list() == ["a/good.png"]
    reasons = {name.removeprefix("a/"): reason for name, reason in rejected(tmp_path).items()}
    expected = {
        "truncated.jpg": "image: a damaged picture",
        "empty.png": "image: the file is empty",
        "line.png": "image: 303 x 3 pixels, a line: one side is more than 100 times the other",
        "text.jpg": "image: no picture that can be read",
        "bomb.png": "image: 40000 x 40000 pixels, more than ingest.max_pixels 50000000",
        "script.png": "image: no picture that can be read",
        "floats.tif": "image: numbers with a decimal point",
        "link.png": "image: leads out of the folder",
        "gone.png": "image: there is no such file",
        "pipe.png": "image: no regular file",
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reasons[name].startswith(reason), name
    assert len(list((tmp_path / "data/media").rglob("*.png"))) == 1


def test_a_picture_that_takes_too_much_memory_is_one_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    put(tmp_path, "a/large.png", bomb(30_000))
    for number in range(5):
        put(tmp_path, f"a/good{number}.png", picture(number))
    rows = taken(tmp_path, ingest_={"max_pixels": 10**9}, max_memory_mb=64)
    assert rows.height == 5
    assert "takes more than 64 MB of memory" in rejected(tmp_path)["a/large.png"]


def test_paths_in_a_table_stay_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(picture(2))
    put(tmp_path, "good.png", picture(1))
    put(tmp_path, "rows.csv", b"image,label\ngood.png,a\n../outside.png,a\n/etc/passwd,a\n")
    rows = taken(tmp_path)
    assert rows["source_media"].to_list() == ["good.png"]
    assert rejected_count(tmp_path) == 2


def test_mutated_pictures_never_end_ingest(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    whole = {kind: saved(plain((40, 30)), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")}
    put(tmp_path, "a/good.png", picture(1))
    for number in range(60):
        content = bytearray(list(whole.values())[number % len(whole)])
        for place in draw.integers(0, len(content), 8):
            content[place] = draw.integers(256)
        put(tmp_path, f"a/{number}.png", bytes(content))
    rows = taken(tmp_path)
    assert rows.height + rejected_count(tmp_path) == 61
    for name in rows["image"]:
        with Image.open(io.BytesIO((tmp_path / "data/media" / name).read_bytes())) as image:
            image.load()


def parquet(folder: Path, cells: pa.Array, name: str = "train.parquet", **columns: Any) -> Path:
    """Write a table with pictures in it."""
    file = folder / "raw" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.table({"image": cells, **columns}), file, row_group_size=2)
    return file


def cells(*held: bytes | None, paths: list[str | None] | None = None) -> pa.Array:
    """Return pictures as `datasets` writes them."""
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    paths = paths or [None] * len(held)
    pairs = zip(held, paths, strict=True)
    return pa.array([{"bytes": content, "path": path} for content, path in pairs], kind)


def test_pictures_that_stand_in_a_table_are_files_like_any_other(tmp_path: Path) -> None:
    held = cells(*map(picture, range(3)), picture(0), paths=["a.png", None, "deep/c.png", "again.png"])
    parquet(tmp_path, held, label=["cat", "cat", "dog", "dog"])
    rows = taken(tmp_path, path="raw/train.parquet", ingest_={"drop_duplicates": False})
    digests = [hashlib.sha256(picture(number)).hexdigest() for number in (0, 1, 2, 0)]
    assert rows["image"].to_list() == [f"{digest[:2]}/{digest}.png" for digest in digests]
    assert rows["label"].to_list() == ["cat", "cat", "dog", "dog"]
    assert [name.rpartition("/")[2] for name in rows["source_media"]] == [
        "a.png",
        "row 2",
        "c.png",
        "again.png",
    ]
    assert (tmp_path / "data/media" / rows["image"][1]).read_bytes() == picture(1)
    assert not (tmp_path / "data/media/embedded").exists()
    assert len([*(tmp_path / "data/media").rglob("*.png")]) == 3


def test_what_datasets_writes_itself_is_read(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    its = {"image": [{"bytes": picture(number), "path": None} for number in range(4)], "label": [0, 1, 0, 1]}
    table = datasets.Dataset.from_dict(its, features=features)
    (tmp_path / "raw").mkdir()
    table.to_parquet(tmp_path / "raw/pictures.parquet")
    rows = taken(tmp_path, path="raw/pictures.parquet")
    assert rows["label"].to_list() == ["cat", "dog", "cat", "dog"]
    datasets.DatasetDict({"train": table}).save_to_disk(tmp_path / "saved")
    again = taken(tmp_path, path="saved")
    assert again["image"].to_list() == rows["image"].to_list()
    assert again["label"].to_list() == rows["label"].to_list()


def test_bytes_alone_and_paths_alone_are_read_too(tmp_path: Path) -> None:
    parquet(tmp_path, pa.array([picture(1), picture(2)], pa.large_binary()), label=["cat", "dog"])
    assert taken(tmp_path, path="raw/train.parquet").height == 2
    put(tmp_path, "there.png", picture(3))
    parquet(tmp_path, cells(None, picture(4), None, paths=["there.png", None, None]), label=["a", "b", "c"])
    rows = taken(tmp_path)
    assert rows["label"].to_list() == ["a", "b"]
    assert rows["source_media"][0] == "there.png"
    assert rejected(tmp_path)["train.parquet"] == "image: missing"
    # a change in there.png would be seen by nobody
    with pytest.raises(InputError, match=r"rows name files beside it, such as 'there.png'.*give the folder"):
        taken(tmp_path, path="raw/train.parquet")


def test_a_name_in_a_table_says_what_media_path_names(tmp_path: Path) -> None:
    held = cells(picture(1), picture(2), paths=["x/0_george_1.png", "7_lucas_12.png"])
    parquet(tmp_path, held)
    rows = taken(tmp_path, path="raw/train.parquet", media_path="{label}_{speaker}_{}.png")
    assert rows["label"].to_list() == ["0", "7"]
    assert rows["speaker"].to_list() == ["george", "lucas"]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (b"", "image: the file is empty"),
        (b"no picture", "image: "),
        (picture(0)[:60], "image: "),
    ],
)
def test_a_faulty_picture_in_a_table_is_a_rejected_row(tmp_path: Path, held: bytes, reason: str) -> None:
    parquet(tmp_path, cells(picture(1), held), label=["cat", "dog"])
    assert taken(tmp_path, path="raw/train.parquet")["label"].to_list() == ["cat"]
    assert rejected(tmp_path)["train.parquet"].startswith(reason)


def test_what_a_table_says_leads_to_no_file_outside(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(picture(9))
    digest = "0" * 64
    said = ["../secret.png", f"embedded/{digest}/x.png", f"embedded/../../{digest}/x.png", str(outside)]
    held = cells(*[None] * 4, picture(1), paths=[*said, "../../secret.png"])
    parquet(tmp_path, held, label=list("abcde"))
    rows = taken(tmp_path)
    assert rows["label"].to_list() == ["e"]
    assert rows["image"][0] == f"{(its := hashlib.sha256(picture(1)).hexdigest())[:2]}/{its}.png"


def test_paths_that_old_writers_call_bytes_are_paths(tmp_path: Path) -> None:
    put(tmp_path, "there.png", picture(3))
    parquet(tmp_path, pa.array([b"there.png", b"there.png", None]), label=["a", "b", "c"])
    rows = taken(tmp_path, ingest_={"drop_duplicates": False})
    assert rows["source_media"].to_list() == ["there.png", "there.png"]
