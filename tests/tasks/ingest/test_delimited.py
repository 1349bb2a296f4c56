"""CSV and TSV as programs write them: delimiters and quoting are found out and said, and no line is swallowed unsaid."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest.readers import Raw, read
from tasks.shared.errors import InputError
from tasks.shared.params import Data
from tasks.shared.params_file import Layer, lay_over
from tests.support.raw_files import pairs, refused, write

LABELS = ("order", "refund", "damage")
TEXTS = [f"number {i}" for i in range(30)]
ROWS = [(text, LABELS[i % 3]) for i, text in enumerate(TEXTS)]


def lines(rows: list[tuple[str, str]], delimiter: str = ",") -> list[str]:
    """Return the header and rows as they look when nothing is quoted."""
    return [delimiter.join(row) for row in [("text", "label"), *rows]]


def quoted(rows: list[tuple[str, str]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> str:
    """Return the header and rows as Python and pandas write them."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(
        [("text", "label"), *rows]
    )  # type: ignore[arg-type]
    return text.getvalue()


def found(path: Path, content: str, **params: Any) -> Raw:
    return read(Data(path=str(write(path, content)), **params))


# quotes that are never closed


def test_a_file_without_quoting_keeps_its_lines_where_two_texts_begin_with_a_quote(tmp_path: Path) -> None:
    said = lines([(f'"{text}' if i in (9, 19) else text, label) for i, (text, label) in enumerate(ROWS)])
    table, rejects, notes = found(tmp_path / "a.csv", "\n".join(said))
    assert (table.height, rejects) == (30, [])
    assert table["text"][9] == '"number 9'
    assert notes == ["a.csv: quotes are part of the text"]


def test_one_quote_that_is_never_closed_in_a_file_without_quoting_swallows_nothing(tmp_path: Path) -> None:
    table, rejects, _ = found(tmp_path / "a.csv", 'text,label\nhello,greet\n"open,greet\nbye,leave\n')
    assert (pairs(table), rejects) == ([("hello", "greet"), ('"open', "greet"), ("bye", "leave")], [])


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_that_a_stray_quote_swallows_is_a_reject_with_its_number(
    tmp_path: Path, ending: str
) -> None:
    said = lines(
        [
            (f'"{text}' if i == 9 else f'"{text}, you"' if i > 18 else text, label)
            for i, (text, label) in enumerate(ROWS)
        ]
    )
    table, rejects, _ = found(tmp_path / "a.csv", ending.join(said))
    assert table["text"].to_list() == [*TEXTS[:9], *(f"{text}, you" for text in TEXTS[20:])]
    assert [reject.reason.split(": ")[1] for reject in rejects] == [f"line {line}" for line in range(11, 22)]
    assert "one row with lines 11 to 21, by the quote that line 11 opens" in rejects[5].reason


def test_every_line_of_a_swallowed_row_with_too_many_fields_is_a_reject(tmp_path: Path) -> None:
    said = lines(
        [
            (f'"{text}' if i == 9 else f'{text}","' if i == 12 else text, label)
            for i, (text, label) in enumerate(ROWS)
        ]
    )
    table, rejects, _ = found(tmp_path / "a.csv", "\n".join([*said, '"quoted, too",order']))
    assert table.height + len(rejects) == 31
    assert [reject.reason.split(": ")[1] for reject in rejects][:4] == [
        "line 11",
        "line 12",
        "line 13",
        "line 14",
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_rows_between_two_stray_quotes_that_fit_each_other_are_not_taken_for_one_text(
    tmp_path: Path, name: str
) -> None:
    delimiter = "\t" if name == "a.tsv" else ","
    said = lines(
        [
            (f'"{text}' if i == 9 else f'{text}"' if i == 12 else text, label)
            for i, (text, label) in enumerate(ROWS)
        ],
        delimiter,
    )
    table, rejects, _ = found(
        tmp_path / name, "\n".join([*said, delimiter.join(['"quoted ""too"""', "order"])])
    )
    assert table["text"].to_list() == [*TEXTS[:9], *TEXTS[13:], 'quoted "too"']
    assert [reject.reason.split(": ")[1] for reject in rejects] == [
        "line 11",
        "line 12",
        "line 13",
        "line 14",
    ]
    assert all("set data.quoting to quoted" in reject.reason for reject in rejects)
    assert read(Data(path=str(tmp_path / name), quoting="quoted")).table.height == 28
    assert read(Data(path=str(tmp_path / name), quoting="unquoted")).table.height == 31


def test_texts_of_several_lines_are_whole(tmp_path: Path) -> None:
    rows = [
        ("Hello, I need\nhelp with this, please\nThanks, bye", "order"),
        ("one\n\ntwo, three", "refund"),
        *ROWS,
    ]
    table, rejects, notes = found(tmp_path / "a.csv", quoted(rows))
    assert (pairs(table), rejects, notes) == (rows, [], [])


# delimiters


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_found_out_and_said(tmp_path: Path, delimiter: str) -> None:
    rows = [
        (f'he said "{text}", twice' + "\nor more" * (i % 2), label) for i, (text, label) in enumerate(ROWS)
    ]
    table, rejects, notes = found(tmp_path / "a.csv", quoted(rows, delimiter))
    assert (pairs(table), rejects) == (rows, [])
    assert notes == [f"a.csv: the delimiter is '{delimiter.replace(chr(9), 'tab')}'"]


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\r\n', "sep=;\r"])
def test_the_line_above_the_header_that_names_the_delimiter_is_heeded(tmp_path: Path, line: str) -> None:
    said = line + quoted(ROWS, ";") + "alone\n"
    table, rejects, notes = found(tmp_path / "a.csv", said)
    assert pairs(table) == ROWS
    assert notes == ["a.csv: the delimiter is ';'"]
    assert rejects[0].reason == "unreadable: line 33: 1 fields where the first line has 2: alone"


def test_commas_and_semicolons_in_texts_are_no_delimiters(tmp_path: Path) -> None:
    rows = [(f"{text}; and, so; on", label) for text, label in ROWS]
    for delimiter in ",;":
        table, rejects, _ = found(tmp_path / "a.csv", quoted(rows, delimiter))
        assert (pairs(table), rejects) == (rows, [])


@pytest.mark.parametrize("stray", [0, 1, 29])
def test_a_stray_quote_does_not_hide_the_delimiter(tmp_path: Path, stray: int) -> None:
    said = lines([(f'"{text}' if i == stray else text, label) for i, (text, label) in enumerate(ROWS)], ";")
    table, rejects, notes = found(tmp_path / "a.csv", "\n".join(said))
    assert (table.height, rejects) == (30, [])
    assert notes == ["a.csv: the delimiter is ';'", "a.csv: quotes are part of the text"]


def test_without_a_header_two_delimiters_that_fit_are_refused_and_one_that_does_not_fit_is_none(
    tmp_path: Path,
) -> None:
    content = "hello;0,95\nbye;0,5\n"
    assert "',' and ';' fit as delimiters" in refused(write(tmp_path / "a.csv", content), header=False)
    assert pairs(found(tmp_path / "a.csv", content, header=False, delimiter=";").table) == [
        ("hello", "0,95"),
        ("bye", "0,5"),
    ]
    uneven = "hello, you;greet\nbye;leave\nwell, no;leave\n"
    assert found(tmp_path / "a.csv", uneven, header=False).table["column_2"].to_list() == [
        "greet",
        "leave",
        "leave",
    ]


def test_many_texts_of_several_lines_with_a_comma_in_each_take_no_longer(tmp_path: Path) -> None:
    rows = [(f"Hello, number {i}\nplease, help\nThanks, bye", LABELS[i % 3]) for i in range(20_000)]
    table, rejects, _ = found(tmp_path / "a.csv", quoted(rows))
    assert (table.height, rejects) == (20_000, [])


def test_a_named_delimiter_is_taken_at_its_word(tmp_path: Path) -> None:
    table, _, notes = found(tmp_path / "a.csv", "a;b,text,label\n1;2,hello,greet\n", delimiter=";")
    assert table.columns[:2] == ["a", "b,text,label"]
    assert notes == []
    for word in ("tab", "\\t", "\t"):
        assert lay_over(Layer("cli", {"data": {"delimiter": word}})).data.delimiter == "\t"
    for wrong in ("", ";;", '"', "\n"):
        with pytest.raises(InputError, match="is not one character that can stand between fields"):
            lay_over(Layer("cli", {"data": {"delimiter": wrong}}))


# quoting in TSV


def test_tsv_as_pandas_writes_it_is_read_with_its_quotes(tmp_path: Path) -> None:
    rows = [(f'he said "{text}"', label) for text, label in ROWS[:3]] + [
        ("two\nlines", "order"),
        ("a\ttab", "refund"),
        *ROWS,
    ]
    table, rejects, notes = found(tmp_path / "a.tsv", quoted(rows, "\t"))
    assert (pairs(table), rejects) == (rows, [])
    assert notes == ["a.tsv: quotes stand around fields"]


@pytest.mark.parametrize(
    "rows",
    [[('he said "so"', "order"), *ROWS], [("two\nlines", "order"), *ROWS], [("a\ttab", "order"), *ROWS]],
)
def test_one_kind_of_quoted_text_is_enough(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    assert pairs(found(tmp_path / "a.tsv", quoted(rows, "\t")).table) == rows


def test_tsv_whose_header_is_quoted_is_quoted(tmp_path: Path) -> None:
    assert pairs(found(tmp_path / "a.tsv", quoted(ROWS, "\t", csv.QUOTE_ALL)).table) == ROWS


def test_tsv_that_quotes_nothing_keeps_its_quotes(tmp_path: Path) -> None:
    rows = [('"Hello," he said', "order"), ('"so"', "refund"), ('"open', "damage"), *ROWS]
    table, rejects, notes = found(tmp_path / "a.tsv", "\n".join(lines(rows, "\t")))
    assert (pairs(table), rejects, notes) == (rows, [], [])


def test_tsv_that_is_quoted_here_and_not_there_is_refused_with_what_to_set(tmp_path: Path) -> None:
    content = quoted([('he said "so"', "order"), *ROWS], "\t") + '"open\torder\n'
    sentence = refused(write(tmp_path / "a.tsv", content))
    assert "set data.quoting to quoted" in sentence
    assert found(tmp_path / "a.tsv", content, quoting="unquoted").table.height == 32


def test_csv_can_be_told_to_quote_nothing(tmp_path: Path) -> None:
    assert pairs(found(tmp_path / "a.csv", 'text,label\n"so",order\n', quoting="unquoted").table) == [
        ('"so"', "order")
    ]


# blanks before quotes


def test_a_blank_before_a_quote_does_not_make_the_quote_part_of_the_field(tmp_path: Path) -> None:
    rows = [(f"{text}, please", label) for text, label in ROWS]
    said = "text, label\n" + "".join(f'"{text}", "{label}"\n' for text, label in rows)
    table, rejects, notes = found(tmp_path / "a.csv", said)
    assert (pairs(table), rejects) == (rows, [])
    assert notes == ["a.csv: blanks before a quote are no part of the field"]
    turned = "label, text\n" + "".join(f'{label}, "{text}"\n' for text, label in rows)
    assert [(text, label) for label, text in pairs(found(tmp_path / "a.csv", turned).table)] == rows


def test_a_blank_and_a_quote_inside_quotes_stay(tmp_path: Path) -> None:
    rows = [('he said, "so"', "order"), (' "so" he said, ', "refund"), *ROWS]
    table, rejects, notes = found(tmp_path / "a.csv", quoted(rows))
    assert (pairs(table), rejects, notes) == (rows, [], [])
