"""Token classification: files as CoNLL has them, words that no token stands for, entities as conlleval finds them."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tasks import problems
from tasks.problems import Problem
from tasks.problems.common import heads, pretrained
from tasks.problems.token_classification import conll
from tasks.problems.token_classification.entities import Entity, of_tags
from tasks.problems.token_classification.guesses import Lookup
from tasks.shared.errors import InputError
from tasks.shared.params import Params, Tokenize
from tasks.shared.statistics import per_label, values
from tests.support import families
from tests.support.project import SHARED

WNUT = SHARED / "wnut17"
PLACE = {"labels": ["O", "B-place", "I-place"], "types": ["place"], "has_prefix": True}


def problem(rows: str = "tags") -> Problem:
    params = Params.model_validate(
        {"problem": "token_classification", "token_classification": {"rows": rows}}
    )
    return problems.load("token_classification", params.own)


def sentences(file: Path) -> pl.DataFrame:
    return pl.DataFrame(list(conll.read(file, "utf-8", 0, -1)))


def scores(predicted: pl.Series, rows: pl.DataFrame) -> dict[str, float]:
    targets = problem().learn_targets(rows.select("tags"))
    return values(problem().measure(pl.DataFrame({"predicted": predicted}), rows, targets))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "precision", "recall", "f1"),
    [("uh_ritual", 57.54, 32.90, 41.86), ("spinningbytes.txt", None, None, 40.78)],
)
def test_the_submissions_to_wnut17_score_what_was_published(
    name: str, precision: float | None, recall: float | None, f1: float
) -> None:
    gold, said = sentences(WNUT / "emerging.test.annotated"), sentences(WNUT / "submissions" / name)
    assert said["tokens"].equals(gold["tokens"])
    found = scores(said["tags"], gold)
    assert round(100 * found["entity_f1"], 2) == f1
    if precision is not None:
        assert (round(100 * found["precision"], 2), round(100 * found["recall"], 2)) == (precision, recall)


@pytest.mark.shared
def test_sentences_of_wnut17_end_at_lines_that_hold_only_a_tab() -> None:
    train = sentences(WNUT / "wnut17train.conll")
    assert train.height == 3394
    assert train["tokens"].list.len().sum() == 62_730
    assert train["tokens"][0][:3].to_list() == ["@paulwalk", "It", "'s"]


@pytest.mark.shared
def test_marks_that_are_not_seen_stay_words_of_wnut17() -> None:
    words = sentences(WNUT / "emerging.dev.conll")["tokens"].explode()
    assert {"\ufe0f", "watched\u200bwas", "Dubbz\ufeff"} <= set(words)
    assert (sentences(WNUT / "emerging.test.annotated")["tokens"].explode() == "\ufe0f").sum() == 3


def test_lines_may_end_in_cr_lf_and_columns_stand_between_blanks(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_bytes(
        "\ufeff-DOCSTART- -X- O\r\n\r\nNew NNP B-place\r\nYork NNP I-place\r\n\r\n\r\nHi UH O".encode()
    )
    assert list(conll.read(file, "utf-8", 0, -1)) == [
        {"tokens": ["New", "York"], "tags": ["B-place", "I-place"]},
        {"tokens": ["Hi"], "tags": ["O"]},
    ]
    assert next(conll.read(file, "utf-8", 0, 1))["tags"] == ["NNP", "NNP"]


def test_the_word_may_stand_behind_its_number_as_in_conll_u(tmp_path: Path) -> None:
    file = tmp_path / "a.conllu"
    lines = ["# sent_id = 1", "# text = Im #Haus", "1-2\tIm\t_\t_", "1\tIn\tin\tADP", "2\tdem\tder\tDET"]
    lines += ["3\t#\t#\tSYM", "3.1\tnicht\tnicht\tPART", "4\tHaus\tHaus\tNOUN", ""]
    file.write_text("\n".join(lines), encoding="utf-8")
    found = {"tokens": ["In", "dem", "#", "Haus"], "tags": ["ADP", "DET", "SYM", "NOUN"]}
    assert list(conll.read(file, "utf-8", 1, 3)) == [found]
    assert list(conll.read(file, "utf-8", 1, -1)) == [found]


def test_germevals_comments_are_no_words(tmp_path: Path) -> None:
    file = tmp_path / "NER-de-dev.txt"
    file.write_text("#\thttp://de.wikipedia.org/wiki/Hof [2009-10-17]\n1\tHof\tB-LOC\tO\n2\tliegt\tO\tO\n")
    assert list(conll.read(file, "utf-8", 1, 2)) == [{"tokens": ["Hof", "liegt"], "tags": ["B-LOC", "O"]}]
    file.write_text("#\tO\nParcel\tB-LOC\n")
    # a word where the first column holds them
    assert list(conll.read(file, "utf-8", 0, 1)) == [{"tokens": ["#", "Parcel"], "tags": ["O", "B-LOC"]}]


def test_a_line_without_a_tag_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("New\tB-place\nYork\n")
    with pytest.raises(InputError, match=r"a\.conll: line 2: 'York' has no tag in column -1; .*tag_column"):
        list(conll.read(file, "utf-8", 0, -1))
    with pytest.raises(InputError, match=r"line 1: '.*' has no word in column 3; .*\.token_column"):
        list(conll.read(file, "utf-8", 3, -1))
    with pytest.raises(InputError, match=r"line 1: '.*' has no tag in column 0; .*tag_column"):
        list(conll.read(file, "utf-8", 0, 0))


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-a I-a O B-a", [(0, 2, "a"), (3, 4, "a")]),
        ("I-a I-a", [(0, 2, "a")]),
        ("O I-a", [(1, 2, "a")]),
        ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
        ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
        ("B-a I-a E-a S-a U-b I-b", [(0, 3, "a"), (3, 4, "a"), (4, 5, "b"), (5, 6, "b")]),
        ("NOUN NOUN VERB", [(0, 2, "NOUN"), (2, 3, "VERB")]),
    ],
)
def test_entities_are_found_as_conlleval_does(tags: str, entities: list[tuple[int, int, str]]) -> None:
    assert of_tags(tags.split()) == [Entity(*entity) for entity in entities]


def test_an_entity_counts_only_where_its_ends_and_its_type_are_right() -> None:
    rows = pl.DataFrame({"tokens": [list("abcd")] * 3, "tags": [["B-x", "I-x", "O", "B-y"]] * 3})
    said = pl.Series([["B-x", "I-x", "O", "B-y"], ["B-x", "O", "O", "B-x"], ["O"] * 4])
    found = scores(said, rows)
    assert (found["precision"], found["recall"]) == pytest.approx((2 / 4, 2 / 6))
    assert found["entity_f1"] == pytest.approx(2 * 2 / (4 + 6))
    assert found["accuracy"] == pytest.approx((4 + 2 + 1) / 12)
    targets = problem().learn_targets(rows.select("tags"))
    by_type = per_label(problem().measure(pl.DataFrame({"predicted": said}), rows, targets)["entity_f1"])
    assert by_type["y"] == pytest.approx({"precision": 1, "recall": 1 / 3, "f1": 0.5, "support": 3})


def encoded(
    folder: Path, rows: pl.DataFrame, rows_are: str = "tags", max_length: int = 32
) -> tuple[list[dict[str, Any]], Any, Any]:
    """Return the encoded rows, how many words were lost, and the tokenizer."""
    processor = pretrained.tokenizer(folder, max_length)
    (found,) = problem(rows_are).encode(processor, rows, PLACE, Tokenize(max_length=max_length))
    return found.inputs.to_pylist(), found, processor


def test_a_word_that_the_tokenizer_drops_moves_no_label(tiny_model: Path) -> None:
    rows = pl.DataFrame(
        {
            "tokens": [["\ufe0f", "in", "Parcel", "\u200b", "city", "\ufe0f"]],
            "tags": [["O", "O", "B-place", "I-place", "I-place", "O"]],
        }
    )
    (row,), found, _ = encoded(tiny_model, rows)
    stands = [(word, label) for word, label in zip(row["starts"], row["labels"], strict=True) if word >= 0]
    assert stands == [(1, 0), (2, 1), (4, 2)]
    assert (row["size"], found.lost) == (6, 3)


def test_what_is_said_of_the_words_beside_it_is_said_of_a_word_without_a_token(tiny_model: Path) -> None:
    rows = pl.DataFrame(
        {
            "tokens": [["in", "Parcel", "\u200b", "city", "\ufe0f"]],
            "tags": [["O", "B-place", "I-place", "I-place", "O"]],
        }
    )
    (row,), _, processor = encoded(tiny_model, rows)
    batch = problem().collator(processor)(
        [{name: row[name] for name in ("input_ids", "starts", "ends", "size")}]
    )
    logits = torch.zeros(1, len(row["input_ids"]), 3)
    for place, label in enumerate(row["labels"]):
        logits[0, place, max(label, 0)] = 9
    (said,) = problem().predict(None, processor, batch, PLACE, logits)
    assert said["predicted"] == ["O", "B-place", "I-place", "I-place", "O"]


def test_words_behind_max_length_are_counted_and_nothing_is_said_of_them(tiny_model: Path) -> None:
    rows = pl.DataFrame({"tokens": [["please"] * 20], "tags": [["O"] * 20]})
    (row,), found, _ = encoded(tiny_model, rows, max_length=8)
    assert (row["length"], row["size"], found.truncated, found.lost) == (8, 20, 1, 14)


def test_words_of_a_byte_pair_model_have_a_blank_before_them_and_their_first_token_stands_for_them(
    tmp_path: Path, tiny_model: Path
) -> None:
    families.roberta(tmp_path / "base", tiny_model)
    rows = pl.DataFrame({"tokens": [["in", "Constantinople", "again"]], "tags": [["O", "B-place", "O"]]})
    params = Tokenize(max_length=32)
    problem().processor(tmp_path / "base", rows.lazy(), params).save_pretrained(tmp_path / "saved")
    processor = problem().load_processor(tmp_path / "saved")
    (found,) = problem().encode(processor, rows, PLACE, params)
    (row,) = found.inputs.to_pylist()
    stands = [(word, label) for word, label in zip(row["starts"], row["labels"], strict=True) if word >= 0]
    assert stands == [(0, 0), (1, 1), (2, 0)]
    firsts = [token for token, word in zip(row["input_ids"], row["starts"], strict=True) if word >= 0]
    assert all(token.startswith("\u0120") for token in processor.convert_ids_to_tokens(firsts))
    assert row["labels"].count(-100) > 2


def test_spans_are_counted_in_code_points(tiny_model: Path) -> None:
    text = "\U0001f600 my order to Parcel City"
    start = text.index("Parcel")
    rows = pl.DataFrame({"text": [text], "spans": [[{"start": start, "end": len(text), "label": "place"}]]})
    (row,), found, processor = encoded(tiny_model, rows, "spans")
    assert found.lost == 0
    batch = problem("spans").collator(processor)(
        [{name: row[name] for name in ("input_ids", "starts", "ends", "size")}]
    )
    logits = torch.nn.functional.one_hot(torch.tensor([[max(label, 0) for label in row["labels"]]]), 3) * 9.0
    (said,) = problem("spans").predict(None, processor, batch, PLACE, logits)
    assert said["predicted"] == rows["spans"].to_list()[0]


BLANKS = "in  Parcel  City\n\nmy order,  \n and   again  "


def test_blanks_that_are_tokens_are_tagged_as_what_surrounds_them(tmp_path: Path, tiny_model: Path) -> None:
    families.roberta(tmp_path, tiny_model)
    spans = [{"start": 4, "end": 16, "label": "place"}]
    rows = pl.DataFrame({"text": [BLANKS], "spans": [spans]})
    (row,), _, processor = encoded(tmp_path, rows, "spans", 64)
    stands = [
        (BLANKS[start:end], label)
        for start, end, label in zip(row["starts"], row["ends"], row["labels"], strict=True)
        if start >= 0
    ]
    # all but the special tokens at both ends
    assert len(stands) == row["length"] - 2
    assert ("", 2) in stands
    assert ("", 0) in stands
    batch = problem("spans").collator(processor)(
        [{name: row[name] for name in ("input_ids", "starts", "ends", "size")}]
    )
    logits = torch.nn.functional.one_hot(torch.tensor([[max(label, 0) for label in row["labels"]]]), 3) * 9.0
    (said,) = problem("spans").predict(None, processor, batch, PLACE, logits)
    assert said["predicted"] == spans
    # a blank that is tagged as a part goes on with an entity, and moves none of its ends
    beside = [place for place, start in enumerate(row["starts"]) if start == row["ends"][place] >= 16]
    logits[0, beside[0]] = torch.tensor([0, 0, 20])
    (said,) = problem("spans").predict(None, processor, batch, PLACE, logits)
    assert said["predicted"] == spans


@pytest.mark.parametrize("family", [families.roberta, families.gpt2])
def test_the_pipeline_finds_the_entities_that_were_predicted_in_texts_with_blanks(
    family: Any, tmp_path: Path, tiny_model: Path
) -> None:
    from transformers import pipeline

    family(tmp_path, tiny_model)
    texts = [BLANKS, "\n\n my  order \n", "  a\t\tparcel", "please,  please \n\n again!!  \n"]
    rows = pl.DataFrame({"text": texts, "spans": [[{"start": 4, "end": 6, "label": "place"}]] * 4})
    encoded_rows, _, processor = encoded(tmp_path, rows, "spans", 64)
    its, found, counts = problem("spans"), [], []
    for seed in range(3):
        torch.manual_seed(seed)
        model = its.model(tmp_path, processor, PLACE)[0].eval()
        # one that was drawn narrowly says the same of all tokens
        head = heads.last_layer(model)
        assert head is not None
        torch.nn.init.normal_(head.weight)
        serve = pipeline("token-classification", model=model, tokenizer=processor, **its.served_with)
        for row, text in zip(encoded_rows, texts, strict=True):
            batch = its.collator(processor)(
                [{name: row[name] for name in ("input_ids", "starts", "ends", "size")}]
            )
            with torch.inference_mode():
                (said,) = its.predict(model, processor, batch, PLACE)
            counts.append(len(said["predicted"]))
            found.append(its.agrees(serve(text), said | {"margin": 1}))
    assert sum(counts) > len(counts)
    assert all(found)


def test_a_package_that_says_more_than_the_predicted_entities_and_blanks_is_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    families.roberta(tmp_path, tiny_model)
    text = "Anna lives in  Oslo  today"
    spans = [{"start": 15, "end": 19, "label": "place"}]
    (row,), _, processor = encoded(tmp_path, pl.DataFrame({"text": [text], "spans": [spans]}), "spans", 64)
    its = problem("spans")
    batch = its.collator(processor)([{name: row[name] for name in ("input_ids", "starts", "ends", "size")}])
    logits = torch.nn.functional.one_hot(torch.tensor([[max(label, 0) for label in row["labels"]]]), 3) * 9.0
    (said,) = its.predict(None, processor, batch, PLACE, logits)
    assert said["predicted"] == spans
    for start, end, is_it in (
        (15, 19, True),
        (13, 21, True),
        (0, 26, False),
        (12, 19, False),
        (15, 22, False),
    ):
        served = [{"entity_group": "place", "word": text[start:end], "start": start, "end": end}]
        assert its.agrees(served, said) == is_it, (start, end)


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([(0, 9)], "spans: 0 to 9 is no part of a text of 5 characters"),
        ([(2, 2)], "spans: 2 to 2 is no part of a text of 5 characters"),
        ([(0, 3), (2, 4)], "spans: 2 to 4 begins within the span before it"),
        ([(0, 3), (3, 4)], None),
    ],
)
def test_spans_that_no_text_can_have_are_rejected(spans: list[tuple[int, int]], reason: str | None) -> None:
    its = [{"start": start, "end": end, "label": "x"} for start, end in spans]
    assert problem("spans").reject(
        pl.DataFrame({"text": ["hello"], "spans": [its]}), Params().ingest
    ).to_list() == [reason]


def test_another_number_of_tags_than_of_words_is_rejected() -> None:
    rows = pl.DataFrame({"tokens": [["a", "b"]], "tags": [["O"]]})
    assert problem().reject(rows, Params().ingest).to_list() == ["tags: 1 for 2 tokens"]


def test_parts_of_speech_are_labels_of_their_own() -> None:
    learned = problem().learn_targets(pl.DataFrame({"tags": [["NOUN", "VERB"], ["NOUN", "O"]]}))
    assert learned == {"labels": ["NOUN", "O", "VERB"], "types": ["NOUN", "VERB"], "has_prefix": False}


def test_a_part_of_speech_is_right_whatever_the_one_before_it() -> None:
    rows = pl.DataFrame({"tokens": [["a", "b"]], "tags": [["NOUN", "NOUN"]]})
    targets = {"labels": ["NOUN", "O", "VERB"], "types": ["NOUN", "VERB"], "has_prefix": False}
    found = values(problem().measure(pl.DataFrame({"predicted": [["VERB", "NOUN"]]}), rows, targets))
    assert found["accuracy"] == 0.5


def test_entities_of_train_are_found_again_where_they_mostly_were_some() -> None:
    known = [
        (["New", "York", "is", "new"], [Entity(0, 2, "place")]),
        (["may", "May"], [Entity(1, 2, "person")]),
        (["may"], []),
    ]
    assert Lookup(known).find(["in", "new", "york", "May"]) == [Entity(1, 3, "place")]


def test_a_span_over_a_whole_text_does_not_slow_down_the_search_for_the_others() -> None:
    text = [f"word{number}" for number in range(20_000)]
    known = [(text, [Entity(0, len(text), "quote")]), (["in", "New", "York"], [Entity(1, 3, "place")])]
    lookup = Lookup(known)
    assert lookup.lengths == [2]
    assert lookup.find([*text, "New", "York"]) == [Entity(20_000, 20_002, "place")]
