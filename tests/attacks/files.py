"""Files of every format, broken in many ways: each row is what an independent reader takes, or rejected; nothing crashes.

`python -m tests.attacks.files SIDE LIST` is the process that reads them, by our reader or by the independent one: what
kills it is an attempt that went wrong, and the next process goes on behind it.
"""

import csv
import io
import json
import math
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.attacks import Attempt

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow", "feather")
# files of each format
LONG, SHORT = 500, 12
MEMORY = 1 << 30
STAGE = 3
SECONDS = 60
# types of text, and those that hold the same bytes
AS_BYTES = {"string": "binary", "large_string": "large_binary", "string_view": "binary_view"}

WORDS = 'where is my parcel, please|I want "my" money back|caf\u00e9 \U0001f600 closed|a; b; c|it\'s 5" wide|no|7|2.50| x '
LABELS = ("order", "refund", "greeting")
NUMBERS = (
    "1",
    "-0.0",
    "1e999",
    "NaN",
    "9" * 5000,
    "1" * 400 + ".5",
    "0x10",
    "1_0",
    "\u0663",
    "Infinity",
    "-9223372036854775809",
)
PIECES = (
    *(
        b'"',
        b'""',
        b",",
        b"\t",
        b";",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\\",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"null",
        b"true",
        b"\\ud800",
        b"\\udc00",
        b'"\\ud83d"',
        b"sep=;\n",
        b"\x1a",
        b"\x85",
        b"\xe2\x80\xa8",
    ),
    *(
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b'"text"',
        b'"text":1,',
        b'"source_row":7,',
        b"//",
        b"'",
        b"\xf0\x9f\x98",
        b"ARROW1",
        b"PAR1",
    ),
    *(number.encode() for number in NUMBERS),
    *(
        limit.to_bytes(width, "little", signed=True)
        for width in (4, 8)
        for limit in (-1, 0, 1, 2**31 - 1, -(2**31))
    ),
)


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield one attempt per file, `count` of each format."""
    files = []
    for kind in FORMATS:
        for number in range(count):
            file = scratch / f"{kind}-{seed + number}.{kind}"
            file.write_bytes(made(kind, random.Random(seed + number)))  # noqa: S311
            files.append(file)
    # one process each for all of them, as long as none kills it: importing takes longer than reading
    ours = _outcomes("ours", files, scratch)
    theirs = _outcomes("theirs", files, scratch)
    for file in files:
        yield Attempt(file.name, _fault(file, ours[file.name], theirs[file.name]))


# files


def made(kind: str, chance: random.Random) -> bytes:
    """Return a file of a format: sound in one of eight cases, else broken once or a few times."""
    content = _columnar(kind, chance) if kind in ("parquet", "arrow", "feather") else _text(kind, chance)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 5, 20))):
        content = _broken(content, chance)
    return content


def _broken(content: bytes, chance: random.Random) -> bytes:
    """Return content with one thing about it changed."""
    first, last = sorted(chance.randint(0, len(content)) for _ in range(2))
    last = min(last, first + chance.choice((1, 4, 64, 100_000)))
    before, part, after = content[:first], content[first:last], content[last:]
    flipped = bytes([part[0] ^ (1 << chance.randrange(8))]) + part[1:] if part else b""
    ways = (
        before + flipped + after,
        before + flipped + after,
        before + after,
        before + part + part + after,
        before,
        before + chance.choice(PIECES) + part + after,
        before + chance.choice(PIECES) + part + after,
        before + (new := chance.choice(PIECES)) + (part + after)[len(new) :],
        before + chance.randbytes(8) + after,
        after + part + before,
    )
    return chance.choice(ways)


def _rows(chance: random.Random) -> list[tuple[Any, ...]]:
    words = WORDS.split("|")
    rows: list[tuple[Any, ...]] = []
    for number in range(chance.choice((1, 3, 40))):
        text = " ".join(chance.choice(words) for _ in range(chance.randint(1, 4))) + str(number)
        rows.append((text, chance.choice(LABELS), number, chance.choice((0.5, 1.0, None, math.nan, True))))
    return rows


def _text(kind: str, chance: random.Random) -> bytes:
    names = ["text", "label", "number", "more"]
    rows = _rows(chance)
    if kind in ("csv", "tsv"):
        out = io.StringIO()
        writer = csv.writer(
            out,
            delimiter="\t" if kind == "tsv" else chance.choice(",,,;|"),
            quoting=chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
            lineterminator=chance.choice(("\n", "\r\n")),
        )
        writer.writerows([names, *rows])
        return out.getvalue().encode(chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))
    objects: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    if chance.random() < 0.4:
        odd: tuple[Any, ...] = (
            [*rows[-1]],
            {**objects[-1], "\ud800": 1},
            {"text": ["a"], "label": {}},
            "text",
            "\ud800",
            9**9,
            None,
        )
        objects[-1] = chance.choice(
            (
                *odd,
                {},
                [],
                [["\udfff"]],
                {"text": {"\ud800": 1}, "label": "a"},
                {"": 1},
                {" text": 1, "label": 2},
            )
        )
    # json escapes what is no character, as programs that write such files do
    lines = [
        json.dumps(row, ensure_ascii=chance.random() < 0.5 or "\\ud" in json.dumps(row)) for row in objects
    ]
    if chance.random() < 0.2:
        at = chance.randrange(len(lines))
        lines[at] = lines[at].replace('"number": ', f'"number": {chance.choice(NUMBERS)}, "was": ', 1)
    return ("\n".join(lines) if kind == "jsonl" else f"[{','.join(lines)}]").encode()


def _columnar(kind: str, chance: random.Random) -> bytes:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    table = _odd_table(_rows(chance), chance)
    out = io.BytesIO()
    if kind == "parquet":
        compression = chance.choice(("none", "snappy", "zstd", "gzip"))
        try:
            pa.parquet.write_table(table, out, compression=compression, use_dictionary=chance.random() < 0.5)
        except (pa.ArrowException, OSError, TypeError, ValueError):
            # a type that Parquet has no word for
            out = io.BytesIO()
            texts = [pa.array(WORDS.split("|")), pa.array(["order"] * len(WORDS.split("|")))]
            pa.parquet.write_table(pa.Table.from_arrays(texts, names=["text", "label"]), out)
    elif kind == "feather":
        pa.feather.write_feather(table, out, compression=chance.choice(("uncompressed", "lz4", "zstd")))
    else:
        new = pa.ipc.new_stream if chance.random() < 0.5 else pa.ipc.new_file
        with new(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=chance.choice((1, 16, None)))
    return out.getvalue()


def _odd_table(rows: Sequence[tuple[Any, ...]], chance: random.Random) -> Any:
    """Return a table with text, label and up to three columns of any type there is."""
    import pyarrow as pa

    count = len(rows)
    odd = odd_columns(count)
    labels = pa.array([row[1] for row in rows])
    texts = pa.array(
        [row[0] for row in rows], chance.choice((pa.string(), pa.large_string(), pa.string_view()))
    )
    names, columns = ["text", "label"], [texts, chance.choice((labels, labels, labels.dictionary_encode()))]
    for name in chance.sample(sorted(odd), chance.randint(0, 3)):
        names.append(name)
        columns.append(odd[name])
    if chance.random() < 0.2:
        # one that is asked for holds what nobody expects
        columns[chance.randrange(2)] = odd[chance.choice(sorted(odd))]
    if chance.random() < 0.05:
        names[-1] = "text"
    return pa.Table.from_arrays(columns, names=names)


def odd_columns(count: int) -> dict[str, Any]:
    """Return a column of each type there is, sound ones."""
    import pyarrow as pa

    moments = [datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=i) for i in range(count)]
    typed = {
        "bool": (pa.bool_(), [i % 2 == 0 for i in range(count)]),
        "int8": (pa.int8(), [i - 3 for i in range(count)]),
        "uint64": (pa.uint64(), [2**64 - 1 - i for i in range(count)]),
        "half": (pa.float16(), [0.5] * count),
        "double": (pa.float64(), [math.nan, *[0.1] * (count - 1)]),
        "decimal": (pa.decimal128(38, 2), [Decimal("-1.50")] * count),
        "wide": (pa.decimal256(70, 3), [Decimal("1.250")] * count),
        "small": (pa.decimal32(5, 1), [Decimal("2.5")] * count),
        "scale": (pa.decimal128(5, -2), [Decimal(2500)] * count),
        "date": (pa.date32(), [date(2026, 1, 1)] * count),
        "date64": (pa.date64(), [date(2026, 1, 1)] * count),
        "time": (pa.time64("us"), [3_600_000_000] * count),
        "moment": (pa.timestamp("us", "Europe/Berlin"), moments),
        "second": (pa.timestamp("s"), [moment.replace(tzinfo=None) for moment in moments]),
        "duration": (pa.duration("us"), [timedelta(hours=i) for i in range(count)]),
        "months": (pa.month_day_nano_interval(), [(1, 2, 3)] * count),
        "null": (pa.null(), [None] * count),
        "bytes": (pa.binary(), [b"\xff\xfe", *[b"text"] * (count - 1)]),
        "fixed": (pa.binary(4), [b"abcd"] * count),
        "list": (pa.list_(pa.string()), [["a", None]] * count),
        "struct": (pa.struct({"text": pa.string()}), [{"text": "a"}] * count),
        "map": (pa.map_(pa.string(), pa.int64()), [[("a", 1)]] * count),
    }
    columns: dict[str, Any] = {name: pa.array(values, kind) for name, (kind, values) in typed.items()}
    columns["uuid"] = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * count, pa.binary(16)))
    columns["json"] = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"] * count))
    columns["tensor"] = pa.FixedShapeTensorArray.from_storage(
        pa.fixed_shape_tensor(pa.int8(), [2]), pa.array([[1, 2]] * count, pa.list_(pa.int8(), 2))
    )
    columns["runs"] = pa.RunEndEncodedArray.from_arrays([count], ["a"])
    columns["union"] = pa.UnionArray.from_sparse(pa.array([0] * count, pa.int8()), [pa.array(["a"] * count)])
    return columns


# reading, in processes that may die


def _outcomes(side: str, files: Sequence[Path], scratch: Path) -> dict[str, dict[str, Any]]:
    """Return what one side makes of each file: its rows, or how it refused it, or died."""
    found: dict[str, dict[str, Any]] = {}
    left = list(files)
    listing = scratch / f"{side}.list"
    while left:
        listing.write_text("\n".join(map(str, left)), encoding="utf-8")
        command = [sys.executable, "-m", "tests.attacks.files", side, str(listing)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            outcome = json.loads(line)
            found[outcome["file"]] = outcome
        left = [file for file in left if file.name not in found]
        if left:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            found[left[0].name] = {"died": f"{_ending(done.returncode)} {last[:300]}".strip()}
            left = left[1:]
    return found


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _read_all(side: str, files: Sequence[Path]) -> None:
    """Print a line of JSON for each file."""
    if side == "theirs":
        # a reader that takes all the memory there is proves nothing
        resource.setrlimit(resource.RLIMIT_DATA, (4 * MEMORY, 4 * MEMORY))
    out = sys.stdout
    # what the stage prints is not looked at
    sys.stdout = io.StringIO()
    for file in files:
        # the default of SIGALRM ends the process, whatever native code it is in
        signal.alarm(SECONDS)
        outcome = {"file": file.name, **(_ours(file) if side == "ours" else _theirs(file)), "peak": _peak()}
        signal.alarm(0)
        out.write(json.dumps(outcome) + "\n")
        out.flush()


def _peak() -> int:
    return (
        max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        << 10
    )


def _ours(file: Path) -> dict[str, Any]:
    from tasks import problems
    from tasks.ingest import ingest
    from tasks.ingest.readers import read
    from tasks.ingest.rows import Wanted
    from tasks.shared.errors import InputError
    from tasks.shared.params import Data, Ingest
    from tasks.shared.paths import Paths

    data = Data(path=str(file))
    try:
        table, rejects, _ = read(data, Wanted({"text": "text", "label": "label"}))
    except InputError as error:
        return {"refused": str(error)}
    except BaseException as error:  # noqa: BLE001 (polars' panics are no Exception)
        return {"died": f"{type(error).__name__}: {str(error)[:300]}"}
    rows = table.sort("source_row").drop("source_file", "source_split").to_dicts()
    found = {"rows": [_plain(row) for row in rows], "rejected": sorted({reject.row for reject in rejects})}
    # each reading takes a process, so that the whole stage runs on some of the files only
    if len(found["rows"]) % STAGE:
        return found
    out = file.with_suffix(".ingested")
    try:
        ingest(data, Ingest(max_rejected=0.99), problems.load("text_classification"), Paths(out))
    except InputError as error:
        found["refused later"] = str(error)
    except BaseException as error:  # noqa: BLE001
        return {"died": f"ingest: {type(error).__name__}: {str(error)[:300]}"}
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it, equal for equal values."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else _said(value)


def _said(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, Decimal):
        return str(value.normalize() + 0)
    if isinstance(value, datetime):
        # a date may be kept as the moment at which it begins
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat().removesuffix("T00:00:00")
    return str(value)


def _theirs(file: Path) -> dict[str, Any]:
    kind = file.suffix.removeprefix(".")
    try:
        if kind in ("parquet", "arrow", "feather"):
            return {"rows": _by_arrow(file, kind)}
        text = file.read_bytes().decode("utf-8-sig")
        return {"readings": [*_by_csv(text)]} if kind in ("csv", "tsv") else {"rows": _by_json(text, kind)}
    except BaseException as error:  # noqa: BLE001
        return {"refused": f"{type(error).__name__}: {str(error)[:300]}"}


def _by_arrow(file: Path, kind: str) -> list[dict[str, Any]]:
    """Return the rows, without the columns that cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet

    if kind == "parquet":
        parquet = pa.parquet.ParquetFile(file)
        names = parquet.schema_arrow.names
        count = parquet.metadata.num_rows
    else:
        with file.open("rb") as opened:
            stream = opened.read(6) != b"ARROW1"
        table = (pa.ipc.open_stream if stream else pa.ipc.open_file)(pa.memory_map(str(file))).read_all()
        names, count = table.column_names, table.num_rows
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name in names:
        try:
            column = parquet.read([name]).column(name) if kind == "parquet" else table.column(name)
            # text as bytes: where it lies is checked, and one row that is no text leaves the others what they are
            column = column.cast(AS_BYTES.get(str(column.type), column.type))
            column.validate(full=True)
            values = column.to_pylist()
        except (pa.ArrowException, OSError, KeyError):
            continue
        except UnicodeDecodeError:
            values = [
                None if cell is None else cell.decode(errors="backslashreplace")
                for cell in column.cast("binary").to_pylist()
            ]
        for row, value in zip(rows, values, strict=True):
            row[name] = _plain(value)
    return rows


def _by_csv(text: str) -> Iterator[list[list[str]]]:
    """Yield the rows of a text by each dialect, the header among them."""
    for delimiter in ",;\t|":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            for blanks in (False, True):
                lines = io.StringIO(text, newline="")
                yield [
                    row
                    for row in csv.reader(
                        lines, delimiter=delimiter, quoting=quoting, skipinitialspace=blanks
                    )
                    if row
                ]


def _by_json(text: str, kind: str) -> list[Any]:
    if kind == "json":
        return list(json.loads(text))
    rows: list[Any] = []
    for line in text.split("\n"):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            rows.append(None)
    return rows


# comparing


def _fault(file: Path, ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """Return what went wrong with a file: a death, memory, a sentence that is none, or a row that is another."""
    if "died" in ours:
        return str(ours["died"])
    if ours["peak"] > MEMORY:
        return f"took {ours['peak'] >> 20} MiB"
    if sentence := ours.get("refused"):
        named = file.name in sentence or "data.path" in sentence
        return (
            None
            if named and "\n" not in sentence and len(sentence) < 1500
            else f"no sentence: {sentence[:2000]!r}"
        )
    if "readings" in theirs:
        return _fault_of_text(ours, theirs["readings"])
    if "rows" not in theirs:
        return f"taken, and an independent reader refuses it: {theirs.get('refused') or theirs.get('died')}"
    return _fault_of_rows(file, ours, theirs["rows"])


def _fault_of_text(ours: dict[str, Any], readings: list[list[list[str]]]) -> str | None:
    """Return None when there is a dialect in which all rows are either taken as they are, or rejected."""
    names = [name for name in (ours["rows"] or [{}])[0] if name != "source_row"]
    taken = [[row[name] for name in names] for row in ours["rows"]]
    for reading in readings:
        rest = iter(reading)
        if all(row in rest for row in taken) and len(reading) - 1 - len(taken) <= len(ours["rejected"]) + 1:
            return None
    return f"no dialect gives these rows: {taken[:2]}"


def _fault_of_rows(file: Path, ours: dict[str, Any], rows: list[Any]) -> str | None:
    taken = {row.pop("source_row"): row for row in ours["rows"]}
    for number, row in enumerate(rows, start=1):
        if number not in taken:
            if number not in ours["rejected"] and not (file.suffix == ".jsonl" and row is None):
                return f"row {number} is neither taken nor rejected"
            continue
        theirs = (
            row if isinstance(row, dict) else {f"column_{at}": value for at, value in enumerate(row, start=1)}
        )
        cleaned = {name.strip().lstrip("\ufeff"): value for name, value in theirs.items()}
        for name, value in taken.pop(number).items():
            its = cleaned.get(name.removeprefix("raw_"), cleaned.get(name))
            if not _same(value, its):
                return f"row {number}: {name} is {value!r:.80}, an independent reader says {its!r:.80}"
    return f"rows that are not there: {sorted(taken)[:5]}" if taken else None


def _same(ours: Any, theirs: Any) -> bool:
    """Return whether a value is the other, or the other written as text."""
    if ours == theirs or (ours is None and isinstance(theirs, float) and math.isnan(theirs)):
        return True
    if not isinstance(ours, str) or ours == str(theirs):
        return isinstance(ours, str)
    try:
        return bool(json.loads(ours) == theirs)
    except (ValueError, RecursionError):
        return False


if __name__ == "__main__":
    _read_all(sys.argv[1], [Path(line) for line in Path(sys.argv[2]).read_text("utf-8").splitlines()])
