"""CSV and TSV: which delimiter, whether quotes count, and no line that a stray quote swallows unsaid."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

from tasks.ingest.dialects import (
    Dialect,
    blanks_before_quotes,
    fitting_delimiters,
    lines_of,
    look,
    without_separator_line,
)
from tasks.ingest.rows import SHOWN, Read, Reject, Row, clean, gather, twice
from tasks.shared.errors import InputError
from tasks.shared.params import Data

NAMES = {"\t": "tab"}
AROUND, PART = "quotes stand around fields", "quotes are part of the text"
SETTLE = f"set data.quoting to quoted if {AROUND}, or to unquoted if they are part of the text"


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
    """Return the columns of delimited text; raise InputError with the line where none is plain."""
    body, skipped, said = without_separator_line(text)
    csv.field_size_limit(params.max_field_chars)
    usual = "," if kind == "csv" else "\t"
    delimiter = params.delimiter or said or _delimiter(body, name, usual, params)
    reader = _Reader(body, name, delimiter, params, skipped)
    usually = kind == "csv"
    forced = params.quoting != "auto"
    attempt = reader.read(quoted=params.quoting == "quoted") if forced else reader.choose(quoted=usually)
    if attempt.unclosed:
        raise attempt.unclosed
    if delimiter != usual and not params.delimiter:
        attempt.read.notes.append(f"the delimiter is {NAMES.get(delimiter, delimiter)!r}")
    if attempt.quoted != usually and not forced:
        attempt.read.notes.append(AROUND if attempt.quoted else PART)
    return attempt.read


def _delimiter(text: str, name: str, usual: str, params: Data) -> str:
    """Return the one that fits; without a header two may, as in `hello;0,95`, and neither is likelier."""
    fitting = fitting_delimiters(text, usual, len(params.column_names) or None)
    if not _has_header(params) and len(fitting) > 1:
        both = " and ".join(f"'{NAMES.get(delimiter, delimiter)}'" for delimiter in fitting)
        raise InputError(f"{name}: {both} fit as delimiters; say which it is with --data.delimiter")
    return fitting[0]


def _has_header(params: Data) -> bool:
    """Return whether the first line names the columns: it does not where params do."""
    return params.header and not params.column_names


class _Reader:
    """One text, to be read in one dialect or another."""

    def __init__(self, text: str, name: str, delimiter: str, params: Data, skipped: int) -> None:
        self.text, self.name, self.delimiter = text, name, delimiter
        self.params, self.skipped = params, skipped
        self.header = _has_header(params)

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
            rows = self._rows(Dialect(self.delimiter, quoted, blanks), attempt)
            attempt.read = gather(rows, self.name, self.params)
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
                counts = f"{len(fields)} fields where the first line has {len(names)}"
                yield from self._lost(span, f"{counts}: {said}")

    def _stop_if_endless(self, error: str, line: int, *, started: bool) -> None:
        """Raise UnclosedError when what is wrong with a line reaches beyond it."""
        if "field limit" in error:
            long = f"a field is longer than data.max_field_chars {self.params.max_field_chars}"
            remedy = f"raise that if it is what the file holds, or if a quote is never closed there, {SETTLE}"
            raise UnclosedError(f"{self.name}: line {line}: {long}; {remedy}") from None
        if not started or "unexpected end" in error:
            unclosed = f"line {line}: a quote is opened and never closed, or this is not CSV"
            remedy = f"close it, check data.format, or {SETTLE}"
            raise UnclosedError(f"{self.name}: {unclosed}; {remedy}") from None

    def _names(self, fields: list[str]) -> list[str]:
        """Return the columns' names, from the header or by position."""
        given = self.params.column_names
        if given and len(given) != len(fields):
            widths = f"the first line has {len(fields)} fields and data.column_names names {len(given)}"
            raise InputError(f"{self.name}: {widths}; name each column, or set data.delimiter")
        said = given or [clean(field) if self.header else "" for field in fields]
        names = [name or f"column_{i}" for i, name in enumerate(said, start=1)]
        if again := twice(names):
            named = f"the header names a column twice: {', '.join(again)}"
            raise InputError(f"{self.name}: {named}; rename one of them")
        return names

    def _lost(self, span: Span, why: str) -> Iterator[Row]:
        """Yield a reject for every line: what a quote has swallowed counts as what it was."""
        first, last = span.first + self.skipped, span.last + self.skipped
        swallowed = ""
        if last > first:
            swallowed = f" (one row with lines {first} to {last}, by the quote that line {first} opens)"
        for line in range(first, last + 1):
            yield Row(span.row, None, reason=f"unreadable: line {line}: {why}{swallowed}")

    def _without_swallowed(self, attempt: Attempt) -> Attempt:
        """Turn away rows of several lines of which one reads like a row, with a label that others have."""
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

        Left out is the column whose quotes have swallowed the lines: a line of a text may well be another.
        """
        inside: dict[int, int] = {}
        for span in attempt.spans:
            inside |= dict.fromkeys(range(span.first, span.last), span.row)
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
