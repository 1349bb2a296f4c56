"""CSV and TSV: which delimiter, whether quotes count, and no line that a stray quote swallows unsaid."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

from tasks.ingest.dialects import Dialect, blanks_before_quotes, fitting_delimiters, lines_of, look, without_separator_line
from tasks.ingest.rows import SHOWN, Read, Reject, Row, clean, gather, twice
from tasks.shared.choices import Format, Quoting
from tasks.shared.errors import InputError
from tasks.shared.params import Data

NAMES = {"\t": "tab"}
SETTLE = "set data.quoting to quoted if quotes stand around fields, or to unquoted if they are part of the text"


class UnclosedError(InputError):
    """A quote is opened and never closed."""


@dataclass(frozen=True)
class Span:
    """Lines of the text, 1-based, that were read as one row."""

    row: int
    first: int
    last: int


@dataclass
class Attempt:
    """A file read in one dialect."""

    quoted: bool
    read: Read
    names: list[str] = field(default_factory=list)
    errors: int = 0
    ragged: int = 0
    spans: list[Span] = field(default_factory=list)
    # why the file could not be read to its end
    unclosed: InputError | None = None

    @property
    def broken(self) -> bool:
        """Return whether a quote stands where none may."""
        return self.errors > 0 or self.unclosed is not None


def read_delimited(text: str, name: str, kind: str, params: Data) -> Read:
    """Return the columns of delimited text; raise InputError with the line where no reading is the plain one."""
    body, skipped, said = without_separator_line(text)
    csv.field_size_limit(params.max_field_chars)
    usual = "," if kind == Format.csv else "\t"
    delimiter = params.delimiter or said or _delimiter(body, name, usual, header=params.header)
    reader = _Reader(body, name, delimiter, params, skipped)
    usually = kind == Format.csv
    forced = params.quoting != Quoting.auto
    attempt = reader.read(quoted=params.quoting == Quoting.quoted) if forced else reader.choose(quoted=usually)
    if attempt.unclosed:
        raise attempt.unclosed
    if delimiter != usual and not params.delimiter:
        attempt.read.notes.append(f"the delimiter is {NAMES.get(delimiter, delimiter)!r}")
    if attempt.quoted != usually and not forced:
        attempt.read.notes.append("quotes stand around fields" if attempt.quoted else "quotes are part of the text")
    return attempt.read


def _delimiter(text: str, name: str, usual: str, *, header: bool) -> str:
    """Return the delimiter that fits; without a header two may, as in `hello;0,95`, and neither is likelier."""
    fitting = fitting_delimiters(text, usual)
    if not header and len(fitting) > 1:
        both = " and ".join(f"'{NAMES.get(delimiter, delimiter)}'" for delimiter in fitting)
        raise InputError(f"{name}: {both} fit as delimiters; say which it is with --data.delimiter")
    return fitting[0]


class _Reader:
    """One text, to be read in one dialect or another."""

    def __init__(self, text: str, name: str, delimiter: str, params: Data, skipped: int) -> None:
        self.text, self.name, self.delimiter, self.params, self.skipped = text, name, delimiter, params, skipped
        self.header = params.header

    def choose(self, *, quoted: bool) -> Attempt:
        """Return the file as its lines say; where they say nothing, by the format's convention (`quoted`)."""
        if '"' not in self.text:
            return self.read(quoted=quoted)
        attempt = self.read(quoted=True)
        if quoted:
            if not attempt.broken:
                return self._without_swallowed(attempt)
            lines = look(self.text, self.delimiter, header=self.header)
            # written without quoting: every line is a row by itself, and no field stands in quotes
            return attempt if lines.ragged or lines.enclosed else self.read(quoted=False)
        lines = look(self.text, self.delimiter, header=self.header)
        if not lines.certain and (attempt.broken or lines.ragged <= attempt.ragged):
            return self.read(quoted=False)
        if attempt.broken:
            raise InputError(f"{self.name}: some fields are quoted as in CSV and others are not; {SETTLE}")
        return self._without_swallowed(attempt)

    def read(self, *, quoted: bool) -> Attempt:
        """Read the text to its end, or to a quote that is never closed."""
        blanks = quoted and blanks_before_quotes(self.text, self.delimiter)
        attempt = Attempt(quoted, Read({}, []))
        try:
            attempt.read = gather(self._rows(Dialect(self.delimiter, quoted, blanks), attempt), self.name, self.params)
        except UnclosedError as error:
            attempt.unclosed = error
        if blanks:
            attempt.read.notes.append("blanks before a quote are no part of the field")
        return attempt

    def _rows(self, dialect: Dialect, attempt: Attempt) -> Iterator[Row]:
        reader = dialect.fields(self.text)
        names: list[str] | None = None
        number = 0
        while True:
            first = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                attempt.errors += 1
                self._stop_if_endless(str(error), first + self.skipped, started=names is not None)
                number += 1
                yield from self._lost(Span(number, first, reader.line_num), f"not CSV: {error}")
                continue
            if not fields or (names is None and not any(field.strip() for field in fields)):
                continue
            if names is None:
                names = attempt.names = self._names(fields)
                if self.header:
                    continue
            number += 1
            span = Span(number, first, reader.line_num)
            if len(fields) == len(names):
                if span.last > span.first:
                    attempt.spans.append(span)
                yield Row(number, names, fields)
            else:
                attempt.ragged += 1
                said = " ".join(dialect.delimiter.join(fields).splitlines())[:SHOWN]
                yield from self._lost(span, f"{len(fields)} fields where the first line has {len(names)}: {said}")

    def _stop_if_endless(self, error: str, line: int, *, started: bool) -> None:
        """Raise UnclosedError when what is wrong with a line reaches beyond it."""
        if "field limit" in error:
            raise UnclosedError(
                f"{self.name}: line {line}: a field is longer than data.max_field_chars {self.params.max_field_chars}; "
                f"raise that if it is what the file holds, or if a quote is opened there and never closed, {SETTLE}"
            ) from None
        if not started or "unexpected end" in error:
            raise UnclosedError(
                f"{self.name}: line {line}: a quote is opened and never closed, or this is not CSV; close it, check data.format, or {SETTLE}"
            ) from None

    def _names(self, fields: list[str]) -> list[str]:
        """Return the columns' names, from the header or by position."""
        said = [clean(field) if self.header else "" for field in fields]
        names = [name or f"column_{i}" for i, name in enumerate(said, start=1)]
        if again := twice(names):
            raise InputError(f"{self.name}: the header names a column twice: {', '.join(again)}; rename one of them")
        return names

    def _lost(self, span: Span, why: str) -> Iterator[Row]:
        """Yield a reject for every line: what a quote has swallowed counts as what it was."""
        first, last = span.first + self.skipped, span.last + self.skipped
        for line in range(first, last + 1):
            swallowed = f" (one row with lines {first} to {last}, by the quote that line {first} opens)" if last > first else ""
            yield Row(span.row, None, reason=f"unreadable: line {line}: {why}{swallowed}")

    def _without_swallowed(self, attempt: Attempt) -> Attempt:
        """Turn away rows of several lines of which one reads like a row of its own, with a label that others have."""
        if not attempt.spans:
            return attempt
        spans = {span.row: span for span in attempt.spans}
        columns = attempt.read.columns
        cells = self._cells(attempt)
        known = {}
        for place, column in enumerate(columns):
            candidates = {value for _, at, value in cells if at == place}
            known[place] = candidates.intersection(columns[column]) if candidates else set()
        swallowed = {row: spans[row] for row, place, value in cells if value in known[place]}
        if swallowed:
            self._turn_away(swallowed, attempt.read)
        return attempt

    def _cells(self, attempt: Attempt) -> list[tuple[int, int, str]]:
        """Return row, place and value of what the lines inside rows would hold if each were a row of its own.

        Left out is the column whose quotes have swallowed the lines: a line of a text may well be another text.
        """
        inside = {line: span.row for span in attempt.spans for line in range(span.first, span.last)}
        rows = set(inside.values())
        index = {number: at for at, number in enumerate(attempt.read.numbers) if number in rows}
        values = list(attempt.read.columns.values())
        cells = []
        for number, line in enumerate(lines_of(self.text), start=1):
            fields = line.rstrip("\r\n").split(self.delimiter) if number in inside else []
            if len(fields) != len(attempt.names):
                continue
            row = inside[number]
            for place, value in enumerate(fields):
                mine = values[place][index[row]] or ""
                if value.strip() and "\n" not in mine and "\r" not in mine:
                    cells.append((row, place, value))
        return cells

    def _turn_away(self, swallowed: dict[int, Span], read: Read) -> None:
        kept = [index for index, number in enumerate(read.numbers) if number not in swallowed]
        read.numbers = [read.numbers[index] for index in kept]
        read.columns = {column: [values[index] for index in kept] for column, values in read.columns.items()}
        for span in swallowed.values():
            why = f"reads like a row of its own, or of a text with line ends; {SETTLE}"
            read.rejects += [Reject(self.name, row.number, row.reason, {}) for row in self._lost(span, why)]
