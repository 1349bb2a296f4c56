"""How CSV and TSV are written, found out from the text: the delimiter, the quotes, the blanks before them."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

DELIMITERS = (",", ";", "\t", "|")
# characters that tell the delimiter
SAMPLE = 65_536
# of the rows: some are broken in any file
NEARLY_ALL = 0.9
# characters of a text that become lines together
PIECE = 1_000_000
# what spreadsheets write, and read, above the header
SEPARATOR_LINE = re.compile(r'"?sep=([^"])"?')


@dataclass(frozen=True)
class Dialect:
    """How lines become fields."""

    delimiter: str
    quoted: bool
    # `a, "b"`: the blank is no part of the field, or the quote would be
    skip_blanks: bool = False

    def fields(self, text: str) -> Any:
        """Return a strict reader of text; line ends inside quotes stay as they are."""
        return csv.reader(
            lines_of(text),
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            skipinitialspace=self.skip_blanks,
            strict=True,
        )


@dataclass
class Look:
    """What the lines say when quotes are letters like any other."""

    ragged: int = 0
    # a field begins and ends with a quote
    enclosed: bool = False
    # ... and holds a doubled one, or is a column's name: nobody writes that in a text
    certain: bool = False


def lines_of(text: str, newline: str = "") -> Iterator[str]:
    """Yield the lines of a text with their ends, without a second copy of it.

    newline: what ends a line, as `open` has it.
    """
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE) + 1 or len(text)
        yield from io.StringIO(text[start:end], newline=newline)
        start = end


def without_separator_line(text: str) -> tuple[str, int, str | None]:
    """Return the text without a line such as `sep=;`, how many lines that was, and the delimiter it names."""
    first = text[:16].splitlines()[:1]
    match = SEPARATOR_LINE.fullmatch(first[0]) if first else None
    if not match:
        return text, 0, None
    return text[len(first[0]) :].removeprefix("\r").removeprefix("\n"), 1, match[1]


def fitting_delimiters(text: str, usual: str, width: int | None = None) -> list[str]:
    """Return the delimiters by which nearly all rows have as many fields as the first, the usual one first.

    width: how many fields that must be, where it is known. Where none fits, that is the usual one alone.
    """
    sample = text[:SAMPLE]
    if len(text) > SAMPLE:
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1]
    shares = {}
    for delimiter in DELIMITERS:
        shares[delimiter] = max(_share(sample, delimiter, quoted, width) for quoted in (True, False))
    fitting = [delimiter for delimiter in DELIMITERS if shares[delimiter] > NEARLY_ALL]
    return sorted(fitting, key=lambda delimiter: (delimiter != usual, -shares[delimiter])) or [usual]


def _share(text: str, delimiter: str, quoted: bool, width: int | None) -> float:  # noqa: FBT001 (one of both)
    """Return the share of rows with as many fields as the first, 0 where that has one, or not `width`."""
    lines = io.StringIO(text, newline="")
    records = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    widths = [len(fields) for fields in records if fields]
    if not widths or widths[0] == 1 or (width and widths[0] != width):
        return 0.0
    return widths.count(widths[0]) / len(widths)


def look(text: str, delimiter: str, *, header: bool) -> Look:
    """Look at each line by itself."""
    found = Look()
    width = 0
    for line in lines_of(text):
        fields = line.rstrip("\r\n").split(delimiter)
        if not line.strip():
            continue
        names = header and width == 0
        width = width or len(fields)
        found.ragged += len(fields) != width
        for value in map(str.strip, fields if '"' in line else ()):
            if len(value) > 1 and value[0] == value[-1] == '"':
                inner = value[1:-1]
                found.enclosed = True
                found.certain |= names or ('""' in inner and '"' not in inner.replace('""', ""))
    return found


def blanks_before_quotes(text: str, delimiter: str) -> bool:
    """Return whether blanks stand between delimiters and quotes, which would not count as quotes then."""
    mark = re.escape(delimiter)
    if ' "' not in text or not re.search(mark + ' +"(?!")', text):
        return False
    differ = False
    faults = [0, 0]
    widths = [0, 0]
    dialects = [Dialect(delimiter, quoted=True, skip_blanks=skip) for skip in (False, True)]
    readings = [_safely(dialect.fields(text)) for dialect in dialects]
    for records in zip_longest(*readings):
        stripped = [fields and [field.lstrip(" ") for field in fields] for fields in records]
        differ |= stripped[0] != stripped[1]
        for which, fields in enumerate(records):
            widths[which] = widths[which] or len(fields or ())
            faults[which] += fields is None or len(fields) not in (0, widths[which])
    return differ and faults[1] <= faults[0]


def _safely(reader: Any) -> Iterator[list[str] | None]:
    """Yield the fields of each record, None where it is none."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None
