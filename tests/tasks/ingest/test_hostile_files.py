"""Files made to crash, or to take all memory: each is one sentence with the limit's name, and all of them stay below 1 GiB."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from flows.ledger.yaml_limits import refuse_deep
from tasks.shared.errors import InputError
from tasks.shared.params_file import read
from tests.support.ingest import LENIENT, run
from tests.support.project import ROOT
from tests.support.raw_files import refused, taken, write

# in the kilobytes that the kernel counts in
GIB = 1024**2

INGEST_ALL = """
import json, resource, sys
from pathlib import Path
from tasks import problems
from tasks.shared.errors import InputError
from tasks.ingest import ingest
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths

for name in sys.argv[1:]:
    try:
        ingest(Data(path=name), Ingest(), problems.load("text_classification"), Paths(Path("out")))
        said = "taken"
    except InputError as error:
        said = str(error)
    # what the kernel says of this process counts its parent's memory, from before it began
    own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    took = own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps([name, said, took]), file=sys.stderr)
"""


def new_keys(path: Path) -> None:
    write(
        path, "".join(json.dumps({"text": f"t{i}", "label": "a", f"k{i}": 1}) + "\n" for i in range(50_000))
    )


def long_quoted_field(path: Path) -> None:
    write(path, 'text,label\nx,b\n"\U0001f600' + "a" * 100_000_000 + '",a\n')


def long_string(path: Path) -> None:
    write(path, '{"text": "x", "label": "b"}\n{"text": "' + "a" * 100_000_000 + '", "label": "a"}\n')


def many_lines_in_one_field(path: Path) -> None:
    write(path, 'text,label\n"' + "a\n" * 6_000_000 + '",a\n')


def many_columns(path: Path) -> None:
    write(path, ",".join(f"c{i}" for i in range(1_000_000)) + "\n" + "1," * 999_999 + "1\n")


def lists_of_nothing(path: Path) -> None:
    write(path, "[" + "[]," * 8_000_000 + "[]]")


def equal_rows(path: Path) -> None:
    """Write 20,000,000 rows in 100 kB."""
    values = pa.array(["x"]).dictionary_encode().take(pa.array([0] * 1_000_000))
    table = pa.table({"text": values, "label": values})
    with pyarrow.parquet.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as writer:
        for _ in range(20):
            writer.write_table(table)


def giant_texts() -> pa.Table:
    return pa.table({"text": pa.array(["a" * 350_000_000 + label for label in "ab"]), "label": ["a", "b"]})


def giant_parquet(path: Path) -> None:
    """Write 700 MB in 30 kB."""
    pyarrow.parquet.write_table(giant_texts(), path, compression="zstd", use_dictionary=False)


def giant_feather(path: Path) -> None:
    table = giant_texts()
    with pa.ipc.new_file(
        str(path), table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_table(table)


def rows_without_values(path: Path) -> None:
    """Write 1,000,000,000 rows in 300 bytes."""
    table = pa.table({"text": pa.nulls(1_000_000_000), "label": pa.nulls(1_000_000_000)})
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "keys.jsonl": (new_keys, "more than 1000 columns (data.max_columns)"),
    "field.csv": (long_quoted_field, "line 3 is longer than data.max_field_chars, 10000000 characters"),
    "string.jsonl": (long_string, "line 2 is longer than data.max_field_chars, 10000000 characters"),
    "lines.csv": (many_lines_in_one_field, "line 2: a field is longer than data.max_field_chars 10000000"),
    "wide.csv": (many_columns, "more than 1000 columns (data.max_columns)"),
    "lists.json": (
        lists_of_nothing,
        "reading it takes more than 600 MB of memory; if that is what it holds, raise data.max_memory_mb",
    ),
    "rows.parquet": (equal_rows, "its rows would take more than 600 MB of memory"),
    "giant.parquet": (giant_parquet, "--data.max_memory_mb 1200"),
    "giant.feather": (giant_feather, "--data.max_memory_mb 1200"),
    "nulls.arrow": (rows_without_values, "--data.max_memory_mb 1200"),
}


@pytest.mark.slow
def test_every_hostile_file_is_a_sentence_that_names_its_limit_and_stays_below_a_gibibyte(
    tmp_path: Path,
) -> None:
    for name, (make, _) in HOSTILE.items():
        make(tmp_path / name)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{INGEST_ALL}", *HOSTILE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said: list[tuple[str, str, int]] = [tuple(json.loads(line)) for line in done.stderr.splitlines()]
    assert [name for name, _, _ in said] == list(HOSTILE)
    for name, sentence, took in said:
        assert sentence.startswith(f"{name}: ")
        assert HOSTILE[name][1] in sentence
        assert "\n" not in sentence
        assert took < GIB, f"{name}: {took} kB"


def test_the_remedies_work(tmp_path: Path) -> None:
    columns = write(
        tmp_path / "a.csv",
        "text,label," + ",".join(f"c{i}" for i in range(1500)) + "\n" + "a,b" + ",1" * 1500 + "\n",
    )
    assert "--data.max_columns 3004" in refused(columns)
    assert taken(columns, max_columns=3004) == [("a", "b")]
    field = write(tmp_path / "b.jsonl", json.dumps({"text": "a" * 150_000, "label": "b"}) + "\n")
    assert "--data.max_field_chars 150027" in refused(field, max_field_chars=100_000)
    assert len(taken(field, max_field_chars=150_027)) == 1
    texts = pa.table({"text": ["a" * 150_000], "label": ["b"]})
    pyarrow.parquet.write_table(texts, tmp_path / "c.parquet")
    assert "--data.max_field_chars 150000" in refused(tmp_path / "c.parquet", max_field_chars=100_000)
    assert len(taken(tmp_path / "c.parquet", max_field_chars=150_000)) == 1
    rows = pa.table({"text": ["a"] * 300_000, "label": ["b"] * 300_000})
    pyarrow.parquet.write_table(rows, tmp_path / "d.parquet")
    assert "--data.max_memory_mb 128" in refused(tmp_path / "d.parquet", max_memory_mb=64)
    assert len(taken(tmp_path / "d.parquet", max_memory_mb=256)) == 300_000


def number(value: int) -> bytes:
    """Return a whole number as Thrift's compact protocol writes it."""
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def test_a_schema_of_any_depth_is_a_sentence(tmp_path: Path) -> None:
    # as often one group in a group; a field is its number and type, then its value, and 0 ends a struct
    group = b"\x48\x01a\x15\x02\x00"
    leaf = b"\x15\x02\x25\x00\x18\x01a\x00"
    depth = 200_000
    footer = b"\x15\x02\x19\xfc" + number(depth + 1) + group * depth + leaf + b"\x16\x00\x19\x0c\x00"
    file = write(tmp_path / "deep.parquet", b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    assert refused(file).startswith(
        "deep.parquet: not a valid parquet file (Parquet schema too deeply nested"
    )


def test_a_columns_name_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    table = pa.table({"text": ["hello"], "label": ["greet"], "there": [1]})
    with pa.ipc.new_stream(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    damaged = (tmp_path / "a.arrow").read_bytes().replace(b"there", b"th\xffre")
    assert "a.arrow: not a valid arrow file" in refused(write(tmp_path / "a.arrow", damaged))


@pytest.mark.parametrize("depth", [100, 900, 960, 980, 990, 1000, 100_000])
def test_json_of_any_depth_is_a_reject_text_or_a_sentence(tmp_path: Path, depth: int) -> None:
    deep = ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth)
    for nested in deep:
        plain = '{"text": "hello", "label": "greet"}'
        rows = [
            f'{{"text": "x", "label": "a", "deep": {nested}}}',
            f'{{"text": "y", "label": {nested}}}',
            plain,
        ]
        found = run(tmp_path, write(tmp_path / "a.jsonl", "\n".join(rows)), **LENIENT)
        assert ("hello", "greet") in found.pairs
        document = write(tmp_path / "a.json", f"[{', '.join(rows)}]")
        try:
            assert ("hello", "greet") in run(tmp_path, document, **LENIENT).pairs
        except InputError as error:
            assert str(error) == "a.json: the JSON is nested too deep to be rows"  # noqa: PT017 (either is right)


def bombs() -> dict[str, str]:
    """Return params files that are small, and huge or endless once read."""
    tenfold = [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 10)}]" for i in range(1, 10)]
    merged = [f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 10)}]}}" for i in range(1, 10)]
    return {
        "aliases of aliases": "\n".join(["b0: &b0 [x]", *tenfold]),
        "merges of merges": "\n".join(["b0: &b0 {x: 1}", *merged]),
        "a list that holds itself": "train: &a [*a]",
        "deep in brackets": "train: " + "[" * 100_000,
        "deep in dashes": "train:\n  " + "- " * 100_000 + "1",
        "many values": "train: [" + "1, " * 200_000 + "1]",
    }


@pytest.mark.parametrize("bomb", bombs())
def test_a_params_file_that_unfolds_without_end_is_a_sentence(tmp_path: Path, bomb: str) -> None:
    with pytest.raises(InputError, match=r"unfold|nested more than 50 levels deep") as error:
        read(write(tmp_path / "params.yaml", bombs()[bomb]))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("bomb", bombs())
def test_dvc_is_handed_none_of_them(tmp_path: Path, bomb: str) -> None:
    with pytest.raises(Exception, match="YAML file structure is corrupted"):
        refuse_deep(bombs()[bomb], tmp_path / "dvc.yaml")


def test_an_alias_here_and_there_is_read(tmp_path: Path) -> None:
    values: dict[str, Any] = read(
        write(tmp_path / "params.yaml", "a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\nd: 'two * two'\n")
    )
    assert values == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}, "d": "two * two"}
