"""Text of rows, labels and names is shown as that text, wherever it becomes Markdown."""

import html
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from flows.ledger.results import Experiment
from flows.report.run_report import markdown
from flows.report.summary import Summary
from tasks import problems
from tasks.package import card
from tasks.shared.markup import code, plain
from tasks.shared.params import Params
from tasks.shared.templates import render
from tests.support.measured import MEASURED

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](//evil.example/z.png)",
    "<javascript:alert(1)>",
    "a | b",
    "`code` ``` ~~~",
    "# no heading",
    "1. no list",
    "&lt;script&gt;",
    "*a* _b_ ~~c~~ \\",
    "</td></table><script>alert(1)</script>",
    "[a]: //evil.example",
    "{{ x }} $1 {0}",
]
SCORES = {
    "rows": 10,
    "headline": {"name": "macro_f1", "higher_is_better": True},
    "interval": {"macro_f1": [0.4, 0.6]},
    "baselines": {"tfidf_linear": {"macro_f1": 0.2}, "majority": {"macro_f1": 0.1}},
    **dict.fromkeys(("accuracy", "macro_f1", "weighted_f1"), 0.5),
}


def rendered(markdown: str) -> str:
    """Return the HTML of a renderer that lets HTML through, as the UI of Prefect does before it cleans it."""
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown)


@pytest.mark.parametrize(
    "place", ["{}", "# {}", "> {}", "- {}", "**{}**", "| a | b |\n|---|---|\n| {} | b |"]
)
@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is_spelled_and_is_no_markup(text: str, place: str) -> None:
    shown = rendered(place.format(plain(text)))
    assert html.escape(" ".join(text.split())) in shown
    tags = {tag.lower() for tag in re.findall(r"<([a-zA-Z]\w*)", shown)}
    assert tags <= {
        "p",
        "h1",
        "blockquote",
        "ul",
        "li",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }


@pytest.mark.parametrize("text", ["one\n\n# two", "one\r\ntwo", "one\u2028two", "one\x00two", "one\u202etwo"])
def test_text_stays_on_its_line_and_holds_nothing_that_cannot_be_seen(text: str) -> None:
    assert re.fullmatch(r"one (\\# )?two", plain(text))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "place",
    [
        "{{ x }}",
        "{{ x | upper }}",
        "{{ x ~ '' }}",
        "{{ [x] | join }}",
        "{{ x | e }}",
        "{{ x | safe }}",
        "{% set y %}{{ x }}{% endset %}{{ y }}",
    ],
)
def test_no_template_lets_text_through_unescaped_however_it_spells_it(
    tmp_path: Path, place: str, text: str
) -> None:
    (tmp_path / "page.md.j2").write_text(f"# {place}\n\n| a |\n|---|\n| {place} |\n")
    shown = rendered(render(tmp_path / "page.md.j2", x=text))
    assert {tag.lower() for tag in re.findall(r"<([a-zA-Z]\w*)", shown)} == {
        "h1",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert shown.count("<td>") == 1


def test_text_in_a_template_is_what_plain_and_code_make_of_it_and_a_missing_name_is_an_error(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.md.j2"
    page.write_text(
        "{{ x }} {{ x | code }} {{ x | plain(3) }} {{ 0.5 }} {{ 0.5 | number }} {{ [0.25, 1.0] | spelled }}"
    )
    assert render(page, x="a/b c") == r"a\/b c `a/b c` a\/b… 0.5 0.5000 0.2500 to 1.0000"
    with pytest.raises(UndefinedError):
        render(page)


@pytest.mark.parametrize(
    "text",
    [
        "sly-fox",
        "macro_f1 0.5988 (0.5330 to 0.6553) against -0.3",
        "3 of 7 stages cached",
        "+0.1000",
        "66%",
        "card_arrival",
        "2 added, 1 removed",
    ],
)
def test_words_and_numbers_that_mean_nothing_to_markdown_stay_as_they_are(text: str) -> None:
    assert plain(text) == text
    assert rendered(text) == f"<p>{text}</p>\n"


@pytest.mark.parametrize(
    "text",
    [
        "- 5",
        "+ a",
        "1. a",
        "1) a",
        "a_ _b",
        "__a__",
        "_a_",
        "a.b",
        "www.a.b",
        "a@b.c",
        "--a",
        "---",
        "===",
        "(a",
        "a (b) c)",
        "a (_b_)",
        "%a",
    ],
)
def test_what_could_mean_something_is_escaped(text: str) -> None:
    assert "\\" in plain(text)
    assert rendered(plain(text)) == f"<p>{text}</p>\n"


def test_long_text_is_cut_and_a_name_without_punctuation_stays_as_it_is() -> None:
    assert plain("x" * 100, 80) == "x" * 80 + "…"
    assert plain("sly-fox") == "sly-fox"
    assert code("data/raw/tickets.csv") == "`data/raw/tickets.csv`"


@pytest.mark.parametrize("name", ["a`b", "a|b", "<b>", "`", "a\nb", "x `y`"])
def test_a_name_that_would_end_its_code_is_shown_as_text(name: str) -> None:
    assert code(name) == plain(name)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_model_card_shows_labels_and_rows_as_they_are_spelled(text: str) -> None:
    params = Params.model_validate({"model": {"name": text, "revision": "main"}})
    measured = SCORES | {"per_class": {text: {}, "other": {}}}
    _, _, body = card(params, problems.load(params.problem), measured, 5, f"```\n{text}").split("---\n", 2)
    shown = rendered(body)
    spelled = html.escape(" ".join(text.split()))
    assert f"Labels: {spelled}, other." in shown
    assert f"<p>{spelled} fine-tuned for text-classification" in shown
    assert shown.count("<pre>") == shown.count("</pre>") == 1
    assert not re.search(r"<(img|script|a)\b", shown)


def test_an_experiment_that_others_named_is_no_markup_and_no_second_command() -> None:
    saved = Experiment("$(touch${IFS}owned)`<img/src=x>", "c0ffee", "beef", is_new=False)
    summary = Summary({}, {}, MEASURED, saved, None)
    shown = html.unescape(rendered(markdown(summary, "a run", Params(), Path("none"))))
    assert "<img" not in shown.replace("`<img/src=x>", "")
    assert "dvc exp apply '$(touch${IFS}owned)`<img/src=x>'" in shown
    assert "<img" not in rendered(summary.sentence)
