"""Question answering: SQuAD's files and scores, offsets in code points, windows over long contexts, and what is chosen of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import transformers as hf

from tasks import problems
from tasks.ingest import ingest
from tasks.problems.question_answering import serve, squad
from tasks.shared.answers import Answer, answers, as_json
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Params, Split, Tokenize
from tasks.shared.paths import Paths
from tasks.shared.statistics import values
from tasks.split import split
from tests.support.project import SHARED

PROBLEM = problems.load("question_answering", Params(problem="question_answering").own)
# an Arabic letter with its vowel sign written apart from a mark that NFC would put behind it: not NFC
NOT_NFC = "\u0634\u064e\u0651"


def taken(folder: Path, source: Path, **params: Any) -> pl.DataFrame:
    ingest(Data(path=str(source)), Ingest(**params), PROBLEM, Paths(folder))
    return pl.read_parquet(Paths(folder).ingested / "rows.parquet")


def rejected(folder: Path) -> list[str]:
    lines = (Paths(folder).ingested / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["reason"] for line in lines]


def nested(folder: Path, *asked: dict[str, Any], context: str = "Ada Lovelace wrote it in 1843.") -> Path:
    """Write a file as SQuAD's."""
    file = folder / "squad.json"
    paragraphs = [{"context": context, "qas": list(asked)}]
    file.write_text(json.dumps({"version": "v2.0", "data": [{"title": "Ada", "paragraphs": paragraphs}]}))
    return file


@pytest.mark.shared
@pytest.mark.parametrize("file", sorted((SHARED / "xquad").glob("xquad.*.json")), ids=lambda file: file.name)
def test_each_answer_of_xquad_stands_where_it_is_said_to_stand(file: Path, tmp_path: Path) -> None:
    rows = taken(tmp_path, file, max_rejected=0)
    # a few questions are asked twice, to the letter
    repeated = rejected(tmp_path)
    assert all(reason.startswith("duplicate") for reason in repeated)
    assert rows.height + len(repeated) == 1190
    for context, given in rows.select("context", "answers").iter_rows():
        (one,) = answers(given)
        assert context[one.start : one.start + len(one.text)] == one.text
    assert rows["article"].n_unique() == 48


@pytest.mark.shared
def test_rows_of_one_article_stand_on_one_side(tmp_path: Path) -> None:
    taken(tmp_path, SHARED / "xquad/xquad.en.json")
    split(Split(method="by_group", group_column="article"), PROBLEM.columns, Paths(tmp_path))
    sides = [
        set(pl.read_parquet(Paths(tmp_path).split(name))["source_group"])
        for name in ("train", "validation", "test")
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 48


def test_a_text_that_is_not_nfc_keeps_its_offsets(tmp_path: Path) -> None:
    context = f"{NOT_NFC} \U0001f600 \u0645\u0635\u0631"
    start = context.index("\u0645")
    asked = {"id": "1", "question": "?", "answers": [{"text": context[start:], "answer_start": start}]}
    rows = taken(tmp_path, nested(tmp_path, asked, context=context))
    assert rows["context"][0] == context
    assert answers(rows["answers"][0]) == [Answer("\u0645\u0635\u0631", start)]


def test_a_wrong_offset_is_a_rejected_row_with_its_reason(tmp_path: Path) -> None:
    right = {"id": "1", "question": "Who?", "answers": [{"text": "Ada Lovelace", "answer_start": 0}]}
    wrong = {"id": "2", "question": "When?", "answers": [{"text": "1843", "answer_start": 24}]}
    rows = taken(tmp_path, nested(tmp_path, right, wrong), max_rejected=0.9)
    assert rows["question"].to_list() == ["Who?"]
    assert rejected(tmp_path) == ["answers: '1843' does not stand at character 24 of the context"]


def test_a_question_without_answer_is_one_only_where_the_file_says_so(tmp_path: Path) -> None:
    impossible = {
        "id": "1",
        "question": "Where?",
        "is_impossible": True,
        "answers": [],
        "plausible_answers": [{"text": "it", "answer_start": 19}],
    }
    unlabelled = {"id": "2", "question": "When?", "answers": []}
    rows = taken(tmp_path, nested(tmp_path, impossible, unlabelled), max_rejected=0.9)
    assert rows["answers"].to_list() == [as_json([])]
    assert rejected(tmp_path) == ["answers: missing"]
    assert PROBLEM.learn_targets(rows) == {"no_answer": True}


def test_rows_as_datasets_writes_them_are_read_from_each_format(tmp_path: Path) -> None:
    given = {"text": ["1843", "in 1843"], "answer_start": [25, 22]}
    row = {"question": "When?", "context": "Ada Lovelace wrote it in 1843.", "answers": given}
    none = {**row, "question": "Where?", "answers": {"text": [], "answer_start": []}}
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, none)))
    pl.DataFrame([row, none]).write_parquet(tmp_path / "raw.parquet")
    for ending in ("jsonl", "parquet"):
        rows = taken(tmp_path / ending, tmp_path / f"raw.{ending}")
        assert [answers(said) for said in rows["answers"]] == [
            [Answer("1843", 25), Answer("in 1843", 22)],
            [],
        ], ending


def test_what_is_no_list_of_answers_is_rejected(tmp_path: Path) -> None:
    rows = [
        {"question": "When?", "context": "Now.", "answers": wrong}
        for wrong in ("Now", '{"text": ["Now"]}', '{"text": [1], "answer_start": [0]}')
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "raw.csv")
    with pytest.raises(InputError, match=r"3 answers: no {text, answer_start}"):
        taken(tmp_path, tmp_path / "raw.csv")


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return PROBLEM.processor(tiny_model, pl.LazyFrame(), Tokenize(max_length=24))


def test_windows_cover_a_long_context_and_say_where_each_token_stands(tokenizer: Any) -> None:
    context = "\u00c9t\u00e9 \U0001f600 " + " ".join(f"word{number}" for number in range(40))
    made = [window for _, window in serve.windows(tokenizer, ["what is it"], [context], 4)]
    assert len(made) > 2
    assert all(len(window["input_ids"]) <= 24 for window in made)
    covered = set()
    for window in made:
        pieces = [
            (start, end) for start, end in zip(window["starts"], window["ends"], strict=True) if start >= 0
        ]
        assert all(context[start:end].strip() == context[start:end] for start, end in pieces)
        covered |= {place for start, end in pieces for place in range(start, end)}
        assert window["starts"].count(serve.NOWHERE) == 1
    assert covered >= {place for place, letter in enumerate(context) if letter.isalnum()}
    firsts = [min(start for start in window["starts"] if start >= 0) for window in made]
    lasts = [max(window["ends"]) for window in made]
    assert all(first < last for first, last in zip(firsts[1:], lasts, strict=False))


def test_the_answer_is_learned_in_the_windows_that_hold_it_and_no_answer_in_the_others(
    tokenizer: Any,
) -> None:
    context = " ".join(f"word{number}" for number in range(40))
    start = context.index("word30")
    rows = pl.DataFrame(
        {"question": ["which word"], "context": [context], "answers": [as_json([Answer("word30", start)])]}
    )
    (encoded,) = PROBLEM.encode(tokenizer, rows, {"no_answer": False}, Tokenize(max_length=24))
    windows = encoded.inputs.to_pylist()
    assert [window["row"] for window in windows] == [0] * len(windows)
    said = set()
    for window in windows:
        first, last = window["start_positions"], window["end_positions"]
        holds = any(at == start for at in window["starts"]) and max(window["ends"]) >= start + len("word30")
        assert (window["starts"][first] != serve.NOWHERE) == holds
        said |= {context[window["starts"][first] : window["ends"][last]]} if holds else set()
    assert said == {"word30"}


def test_a_question_is_cut_where_it_leaves_no_room_for_its_context(tokenizer: Any) -> None:
    rows = pl.DataFrame(
        {"question": ["why " * 100], "context": ["because"], "answers": [as_json([Answer("because", 0)])]}
    )
    (encoded,) = PROBLEM.encode(tokenizer, rows, {"no_answer": False}, Tokenize(max_length=24))
    assert encoded.truncated == 1
    assert encoded.inputs["length"][0].as_py() <= 24


def test_the_best_spans_are_those_of_all_pairs_of_tokens() -> None:
    random = np.random.default_rng(0)
    starts = np.array([serve.NOWHERE, serve.NO_TEXT, 0, 4, 9, 12, serve.NO_TEXT])
    ends = np.array([serve.NO_TEXT, serve.NO_TEXT, 3, 8, 11, 15, serve.NO_TEXT])
    first, last = random.normal(size=7).astype(np.float32), random.normal(size=7).astype(np.float32)
    found, no_answer = serve.spans(first, last, starts, ends, 4, 2)
    every = [
        (float(first[i]) + float(last[j]), int(starts[i]), int(ends[j]))
        for i in range(2, 6)
        for j in range(i, min(i + 2, 6))
    ]
    assert found == [pytest.approx(list(one)) for one in sorted(every, reverse=True)[:4]]
    assert no_answer == pytest.approx(float(first[0]) + float(last[0]))


def test_the_best_answer_of_all_windows_is_chosen_and_no_answer_beyond_its_threshold() -> None:
    found = [([[2.0, 0, 3], [1.0, 4, 8]], 5.0), ([[3.0, 4, 8]], 2.5)]
    assert [(one["start"], one["end"]) for one in serve.chosen(found, 20)] == [(4, 8), (0, 3)]
    assert serve.chosen(found, 20, threshold=0.0)[0]["start"] == 4
    assert serve.chosen(found, 20, threshold=-1.0)[0]["start"] is None
    assert sum(one["score"] for one in serve.chosen(found, 20, threshold=0.0)) == pytest.approx(1)
    assert serve.chosen([([], 1.0)], 20)[0]["start"] is None


def test_scores_are_those_of_the_official_scripts() -> None:
    assert squad.normalized("The  Broncos' \u201cwin\u201d, an upset!") == "broncos \u201cwin\u201d upset"
    assert squad.exact("the Denver Broncos.", ["Denver Broncos", "Broncos"])
    assert squad.f1("Denver Broncos of 2015", ["the Denver Broncos"]) == pytest.approx(2 * 2 / (4 + 2))
    assert squad.f1("", []) == squad.f1("the", ["a"]) == 1.0
    assert squad.f1("Denver", []) == squad.f1("", ["Denver"]) == 0.0
    # without blanks between words an answer is one word, in the authors' own numbers too
    assert squad.f1("\u4e39\u4f5b\u91ce\u9a6c", ["\u4e39\u4f5b\u91ce\u9a6c\u961f"]) == 0.0


def test_the_sentence_with_most_words_of_the_question_is_what_anyone_finds() -> None:
    test = pl.DataFrame(
        {
            "question": ["when did Ada write"],
            "context": ["It rains. Ada did write in 1843. So what?"],
            "answers": [as_json([Answer("1843", 27)])],
        },
    )
    found = PROBLEM.baselines(test, test, {"no_answer": True})
    assert answers(found["most_alike_sentence"]["predicted"][0]) == [Answer("Ada did write in 1843.", 10)]
    assert values(PROBLEM.measure(found["no_answer"], test, {}))["f1"] == 0.0


@pytest.mark.slow
def test_a_tokenizer_that_does_not_say_where_its_tokens_stand_is_refused(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_hash_buckets": 64,
        "num_hash_functions": 4,
    }
    hf.CanineModel(hf.CanineConfig(**sizes)).save_pretrained(tmp_path)
    hf.CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="does not say where its tokens stand"):
        PROBLEM.processor(tmp_path, pl.LazyFrame(), Tokenize())
