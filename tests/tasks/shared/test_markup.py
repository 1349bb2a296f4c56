"""Text of rows, labels and names is shown as that text, wherever it becomes Markdown."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from flows.ledger.results import Experiment
from flows.report.run_report import _next
from flows.report.summary import Summary
from tasks import problems
from tasks.package import card
from tasks.shared.markup import code, plain
from tasks.shared.params import Params

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
    "interval": {"macro_f1": [0.4, 0.6]},
    "baselines": {"tfidf_linear": {"macro_f1": 0.2}, "majority": {"macro_f1": 0.1}},
    **dict.fromkeys(("accuracy", "macro_f1", "weighted_f1"), 0.5),
}


def rendered(markdown: str) -> str:
    """Return the HTML of a renderer that lets HTML through, as the UI of Prefect does before it cleans it."""
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown)


@pytest.mark.parametrize("place", ["{}", "# {}", "> {}", "- {}", "**{}**", "| a | b |\n|---|---|\n| {} | b |"])
@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is_spelled_and_is_no_markup(text: str, place: str) -> None:
    shown = rendered(place.format(plain(text)))
    assert html.escape(" ".join(text.split())) in shown
    tags = {tag.lower() for tag in re.findall(r"<([a-zA-Z]\w*)", shown)}
    assert tags <= {"p", "h1", "blockquote", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("text", ["one\n\n# two", "one\r\ntwo", "one\u2028two", "one\x00two", "one\u202etwo"])
def test_text_stays_on_its_line_and_holds_nothing_that_cannot_be_seen(text: str) -> None:
    assert re.fullmatch(r"one (\\# )?two", plain(text))


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
    _, _, body = card(params, problems.load(params.problem), measured, {"train": 5}, f"```\n{text}").split("---\n", 2)
    shown = rendered(body)
    spelled = html.escape(" ".join(text.split()))
    assert f"Labels: {spelled}, other." in shown
    assert f"<p>{spelled} fine-tuned for text-classification" in shown
    assert shown.count("<pre>") == shown.count("</pre>") == 1
    assert not re.search(r"<(img|script|a)\b", shown)


def test_an_experiment_that_others_named_is_no_markup_and_no_second_command() -> None:
    saved = Experiment("$(touch${IFS}owned)`<img/src=x>", "c0ffee", "beef", is_new=False)
    summary = Summary({}, {}, {"evaluate": SCORES}, saved, None)
    shown = html.unescape(rendered(_next(summary)))
    assert "<img" not in shown.replace("`<img/src=x>", "")
    assert "dvc exp apply '$(touch${IFS}owned)`<img/src=x>'" in shown
    assert "<img" not in rendered(summary.sentence)
