"""CTranslate2's files: what stands in them, and that nothing they say is believed."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from tasks.shared import ctranslate2_files
from tasks.shared.errors import InputError
from tests.support.ctranslate2 import text, variable, written

VARIABLES = {
    "decoder/embeddings/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "decoder/pre_norm": np.array(1, np.int8),
    "encoder/bias": np.array([1.5, -2], np.float32),
}
HEAD = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 1)


def made(folder: Path, content: bytes) -> Path:
    file = folder / "model.bin"
    file.write_bytes(content)
    return file


def refused(file: Path) -> str:
    with pytest.raises(InputError) as error:
        ctranslate2_files.read(file)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = made(tmp_path, written(VARIABLES, aliases={"decoder/projection": "decoder/embeddings/weight"}))
    found = ctranslate2_files.read(file)
    assert (found.kind, ctranslate2_files.kind(tmp_path)) == ("WhisperSpec", "WhisperSpec")
    for name, array in VARIABLES.items():
        assert np.array_equal(found.arrays[name], array)
        assert found.types[name] == str(array.dtype)
    assert np.array_equal(found.arrays["decoder/projection"], VARIABLES["decoder/embeddings/weight"])


def test_another_file_of_that_name_is_none(tmp_path: Path) -> None:
    assert ctranslate2_files.kind(tmp_path) is None
    for content in (b"", b"PK\x03\x04 a pickle of torch", struct.pack("<I", 6), b"\x06\0\0\0\xff\xff"):
        made(tmp_path, content)
        assert ctranslate2_files.kind(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged"),
        (struct.pack("<I", 9), "its version is 9"),
        (written(VARIABLES)[:-5], "it ends at byte"),
        (written(VARIABLES) + b"more", "4 bytes stand behind its end"),
        (written(VARIABLES, aliases={"a": "b"}), "a is another name of b"),
        (written(VARIABLES, aliases={"encoder/bias": "encoder/bias"}), "encoder/bias is another name"),
        (HEAD + struct.pack("<H", 3) + b"abc", "there is no name"),
        (HEAD + text("a") + struct.pack("<B", 200), "a has 200 dimensions"),
        (HEAD + text("a") + struct.pack("<BBI", 0, 17, 4), "a is of type 17"),
        (HEAD + text("a") + struct.pack("<BIIBI", 2, 2**32 - 1, 2**32 - 1, 0, 4), "a has 4 bytes"),
        (HEAD + text("a") + struct.pack("<BIBI", 1, 2**30, 0, 2**32 - 4), "and 4294967292 bytes|a has"),
        (
            struct.pack("<I", 6)
            + text("W")
            + struct.pack("<II", 3, 2)
            + 2 * variable("a", np.ones(1)[:0].astype("f4")),
            "a stands there twice",
        ),
    ],
)
def test_a_damaged_file_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    said = refused(made(tmp_path, content))
    assert any(one in said for one in sentence.split("|")), said
    assert "install or copy it again" in said


def test_mutated_files_are_read_or_refused_and_never_crash(tmp_path: Path) -> None:
    whole, draw = bytearray(written(VARIABLES)), random.Random(0)  # noqa: S311 (where bytes are changed)
    for _ in range(500):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        file = made(tmp_path, bytes(changed[: draw.randint(1, len(changed))]))
        ctranslate2_files.kind(tmp_path)
        try:
            found = ctranslate2_files.read(file)
        except InputError:
            continue
        assert sum(array.nbytes for array in found.arrays.values()) <= len(whole)
