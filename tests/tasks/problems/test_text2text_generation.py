"""Text-to-text generation: pairs as people keep them, metrics as sacrebleu's and rouge-score's, and texts that do not depend on their neighbours."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sentencepiece
import torch
import transformers as hf
from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

from tasks import problems
from tasks.ingest import ingest
from tasks.problems import Problem
from tasks.problems.common import counting, predicting
from tasks.problems.text2text_generation import languages, serve
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Params, Tokenize
from tasks.shared.paths import Paths
from tasks.shared.statistics import Statistic, take, values
from tests.support.families import HALVES, bart, save, t5
from tests.support.project import SHARED


def load(**own: Any) -> Problem:
    """Return the problem with params of its own."""
    params = Params.model_validate({"problem": "text2text_generation", "text2text_generation": own})
    return problems.load(params.problem, params.own)


PROBLEM = load()
SAID = ["the cat sat on the mat", "a dog", "", "it is 3.5 % of all, or so", "no", "x"]
RIGHT = [
    "the cat is on the mat.",
    "a dog barked at me",
    "nothing",
    "it is 3.5 % of all",
    "No!",
    "completely different",
]


def taken(folder: Path, **data: Any) -> pl.DataFrame:
    ingest(Data(**data), Ingest(max_rejected=0.5), PROBLEM, Paths(folder))
    return pl.read_parquet(Paths(folder).ingested / "rows.parquet")


def measured(said: list[str], right: list[str]) -> dict[str, Statistic]:
    return dict(PROBLEM.measure(pl.DataFrame({"predicted": said}), pl.DataFrame({"target": right}), {}))


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows", "blank"), [("train", 7182, 1), ("dev", 1000, 0), ("test", 3643, 0)])
def test_disfl_qa_is_read_and_its_blank_question_rejected(
    name: str, rows: int, blank: int, tmp_path: Path
) -> None:
    columns = {"text": "disfluent", "target": "original"}
    found = taken(tmp_path, path=str(SHARED / f"disfl_qa/{name}.json"), columns=columns)
    lines = (Paths(tmp_path).ingested / "rejected.jsonl").read_text("utf-8").splitlines()
    reasons = [json.loads(line)["reason"] for line in lines]
    assert [reason for reason in reasons if not reason.startswith("duplicate")] == ["text: blank"] * blank
    assert found.height + len(reasons) == rows
    assert found.filter(pl.col("text") == pl.col("target")).height == {"train": 2, "dev": 0, "test": 1}[name]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("pair", "language", "space"), [("fra-eng", "fra", "\u00a0"), ("jpn-eng", "jpn", "\u3000")]
)
def test_parallel_lines_are_read_from_the_side_that_is_named(
    pair: str, language: str, space: str, tmp_path: Path
) -> None:
    folder = SHARED / "tatoeba_laser_v1"
    sides = [
        (folder / f"tatoeba.{pair}.{side}").read_text("utf-8").removesuffix("\n").split("\n")
        for side in (language, "eng")
    ]
    found = taken(tmp_path, path=str(folder), files=f"tatoeba.{pair}.{language}")
    assert set(found.select("text", "target").iter_rows()) == set(zip(*sides, strict=True))
    assert found["text"].str.contains(space).any()


def test_files_that_are_not_parallel_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.de-en.de").write_text("eins\nzwei\n")
    with pytest.raises(InputError, match="no such file"):
        taken(tmp_path / "a", path=str(tmp_path), files="x.de-en.de")
    (tmp_path / "x.de-en.en").write_text("one\n")
    with pytest.raises(InputError, match=r"x.de-en.de has 2 lines and x.de-en.en 1"):
        taken(tmp_path / "b", path=str(tmp_path), files="x.de-en.de")
    with pytest.raises(InputError, match="belong together"):
        taken(tmp_path / "c", path=str(tmp_path / "x.de-en.de"))


def test_bleu_and_chrf_are_sacrebleus_on_any_rows() -> None:
    from sacrebleu.metrics import BLEU, CHRF

    found = measured(SAID, RIGHT)
    random = np.random.default_rng(0)
    for rows in (
        [*range(len(SAID))],
        [0],
        [1],
        [2],
        [4],
        [5],
        *random.integers(0, len(SAID), (20, 5)).tolist(),
    ):
        pair = [SAID[row] for row in rows], [[RIGHT[row] for row in rows]]
        expected = {
            "bleu": BLEU().corpus_score(*pair).score / 100,
            "chrf": CHRF().corpus_score(*pair).score / 100,
        }
        got = values(take({name: found[name] for name in expected}, rows))
        assert got == pytest.approx(expected, abs=1e-12), rows


@pytest.mark.slow
@pytest.mark.shared
def test_copying_disfl_qa_scores_what_sacrebleu_says(tmp_path: Path) -> None:
    from sacrebleu.metrics import BLEU

    columns = {"text": "disfluent", "target": "original"}
    rows = taken(tmp_path, path=str(SHARED / "disfl_qa/test.json"), columns=columns)
    expected = BLEU().corpus_score(rows["text"].to_list(), [rows["target"].to_list()]).score / 100
    assert values(measured(rows["text"].to_list(), rows["target"].to_list()))["bleu"] == pytest.approx(
        expected, abs=1e-12
    )


def test_rouge_is_rouge_scores() -> None:
    # what rouge-score 0.1.2 says of these pairs, without stemming
    assert counting.rouge(SAID[0], RIGHT[0]) == pytest.approx(
        {"rouge_1": 5 / 6, "rouge_2": 0.6, "rouge_l": 5 / 6}
    )
    assert counting.rouge("a b c d", "d c b a") == pytest.approx(
        {"rouge_1": 1.0, "rouge_2": 0.0, "rouge_l": 0.25}
    )
    assert counting.rouge("", "a") == {"rouge_1": 0.0, "rouge_2": 0.0, "rouge_l": 0.0}


def test_a_target_is_cut_and_still_ends_with_the_end_token(tiny_model: Path) -> None:
    problem = load(max_target_length=4)
    processor = problem.processor(tiny_model, pl.LazyFrame(), Tokenize())
    rows = pl.DataFrame({"text": ["my order is late"], "target": ["my order is very late again today"]})
    (encoded,) = problem.encode(processor, rows, {}, Tokenize())
    (labels,) = encoded.inputs["labels"].to_pylist()
    assert (len(labels), labels[-1], encoded.truncated) == (4, processor.sep_token_id, 1)
    assert processor.cls_token_id not in labels


def test_a_row_whose_text_and_target_are_cut_is_one_cut_row(tiny_model: Path) -> None:
    problem = load(max_target_length=4)
    processor = problem.processor(tiny_model, pl.LazyFrame(), Tokenize(max_length=8))
    long, short = "my order is very late again today", "late"
    rows = pl.DataFrame({"text": [long, long, short, short], "target": [long, short, long, short]})
    (encoded,) = problem.encode(processor, rows, {}, Tokenize(max_length=8))
    assert encoded.truncated == 3


def test_how_a_base_generated_for_its_own_task_is_forgotten_but_for_its_tokens(
    tiny_model: Path, tmp_path: Path
) -> None:
    bart(tmp_path, tiny_model)
    file = tmp_path / "generation_config.json"
    # as that of facebook/bart-large-cnn
    news = {
        "min_length": 20,
        "max_length": 142,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "num_beams": 4,
    }
    news |= {"early_stopping": True, "encoder_no_repeat_ngram_size": 3, "forced_bos_token_id": 0}
    file.write_text(json.dumps(news))
    problem = load(max_new_tokens=12, max_target_length=32)
    processor = problem.processor(tmp_path, pl.LazyFrame(), Tokenize())
    model = problem.model(tmp_path, processor, {})[0].eval()
    kept: Any = model.generation_config
    assert kept.forced_bos_token_id == 0
    assert (kept.max_new_tokens, kept.num_beams, kept.no_repeat_ngram_size) == (12, 1, 0)
    for name in ("min_length", "max_length", "encoder_no_repeat_ngram_size"):
        assert not getattr(kept, name), name
    model.save_pretrained(tmp_path / "kept")
    saved = json.loads((tmp_path / "kept/generation_config.json").read_text())
    assert saved.keys().isdisjoint({"min_length", "max_length", "encoder_no_repeat_ngram_size"})


# codes of two languages, as each kind spells them
CODES = {"m2m100": ("en", "fr"), "mbart": ("en_XX", "fr_XX"), "nllb": ("eng_Latn", "fra_Latn")}
LETTERS = "abcdefghijklmnopqrstuvwxyz."


def spelling(folder: Path) -> Path:
    """Write a model of SentencePiece with a piece for each letter, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(LETTERS)] * 9),
        model_prefix=str(folder / "letters"),
        model_type="char",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "letters.model"


def pieces_of(file: Path) -> list[str]:
    """Return the pieces of a model of SentencePiece."""
    its = sentencepiece.SentencePieceProcessor(model_file=str(file))
    return [its.id_to_piece(number) for number in range(its.get_piece_size())]


def multilingual(kind: str, folder: Path) -> None:
    """Write an encoder-decoder for many languages with a token for each letter."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "\u2581"]
    pieces = [*special, *LETTERS]
    tokenizer: Any
    if kind == "m2m100":
        letters = spelling(folder)
        known = dict.fromkeys([*special, *pieces_of(letters)])
        vocabulary = folder / "vocab.json"
        vocabulary.write_text(json.dumps(dict(zip(known, range(len(known)), strict=True))))
        # the hub's names them as additional ones
        spoken = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES[kind]]
        tokenizer = hf.M2M100Tokenizer(str(vocabulary), str(letters), additional_special_tokens=spoken)
    elif kind == "mbart":
        tokenizer = hf.MBartTokenizer(vocab=[(piece, -1.0) for piece in pieces])
    else:
        tokenizer = hf.NllbTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    sizes = {"d_model": 32, "max_position_embeddings": 64, "vocab_size": len(tokenizer), **HALVES}
    torch.manual_seed(0)
    model: Any
    if kind == "mbart":
        model = hf.MBartForConditionalGeneration(hf.MBartConfig(**sizes))
    else:
        model = hf.M2M100ForConditionalGeneration(hf.M2M100Config(**sizes))
    save(model, tokenizer, folder)


@pytest.mark.parametrize("kind", CODES)
def test_a_model_of_many_languages_is_told_which_it_reads_and_writes(kind: str, tmp_path: Path) -> None:
    multilingual(kind, tmp_path / "base")
    source, target = CODES[kind]
    own = {"source_language": source, "target_language": target, "max_new_tokens": 6, "max_target_length": 5}
    problem = load(**own)
    processor = problem.processor(tmp_path / "base", pl.LazyFrame(), Tokenize())
    spoken = [f"__{code}__" if kind == "m2m100" else code for code in (source, target)]
    reads, writes = processor.convert_tokens_to_ids(spoken)
    rows = pl.DataFrame({"text": ["is it late", "no"], "target": ["est ce en retard", "n"]})
    (found,) = problem.encode(processor, rows, {}, Tokenize())
    (long, short), labels = found.inputs["input_ids"].to_pylist(), found.inputs["labels"].to_pylist()
    assert found.truncated == 1
    assert all(len(its) <= 5 for its in labels)
    model = problem.model(tmp_path / "base", processor, {})[0].eval()
    batch = problem.collator(processor)(found.inputs.drop_columns(["length"]).to_pylist())
    assert model(**batch).loss.isfinite()
    end = processor.eos_token_id
    said = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"])
    if kind == "mbart":
        assert all(its[-2:] == [end, reads] for its in (long, short))
        assert all(its[-2:] == [end, writes] for its in labels)
        assert said[:, 0].tolist() == [writes] * 2
    else:
        assert all((its[0], its[-1]) == (reads, end) for its in (long, short))
        assert all((its[0], its[-1]) == (writes, end) for its in labels)
        assert said[:, :2].tolist() == [[end, writes]] * 2
    model.save_pretrained(tmp_path / "package")
    processor.save_pretrained(tmp_path / "package")
    served = serve.load(str(tmp_path / "package"))
    assert served[0](rows["text"].to_list())["input_ids"] == [long, short]
    predicted = problem.predict(model, processor, batch, {})
    assert serve.answer(*served, rows["text"].to_list()) == [one["predicted"] for one in predicted]
    assert not any(spoken[1] in one["predicted"] for one in predicted)


def test_languages_that_are_missing_or_unknown_are_named(tmp_path: Path, tiny_model: Path) -> None:
    multilingual("nllb", tmp_path / "nllb")
    for own, said in (
        ({}, r"source_language: a NllbTokenizer is told which .*; give its code, such as \w+_\w+"),
        ({"source_language": "eng_Latn"}, "target_language: .* is told which"),
        (
            {"source_language": "eng_Latn", "target_language": "fra_latn"},
            "target_language: there is no language 'fra_latn'; did you mean 'fra_Latn'",
        ),
    ):
        with pytest.raises(InputError, match=said):
            load(**own, max_target_length=32, max_new_tokens=8).processor(
                tmp_path / "nllb", pl.LazyFrame(), Tokenize()
            )
    with pytest.raises(
        InputError, match=r"source_language: the tokenizer of .* is told no language; leave it out"
    ):
        load(source_language="eng_Latn").processor(tiny_model, pl.LazyFrame(), Tokenize())


def test_a_tokenizer_that_puts_the_language_behind_an_end_is_refused(tmp_path: Path) -> None:
    pieces = ["<pad>", "<unk>", "<s>", "</s>", "a", "\u2581", "__eng__", "__fra__"]
    tokenizer: Any = hf.SeamlessM4TTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        additional_special_tokens=["__eng__", "__fra__"],
    )
    tokenizer.save_pretrained(tmp_path)
    hf.SeamlessM4TConfig(vocab_size=len(pieces)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"a SeamlessM4TTokenizer puts the language .* neither first nor la"):
        load(source_language="eng", target_language="fra").processor(tmp_path, pl.LazyFrame(), Tokenize())


def test_m2m100_is_told_its_languages_by_their_codes(tmp_path: Path) -> None:
    multilingual("m2m100", tmp_path)
    problem = load(source_language="de", target_language="fr", max_target_length=32, max_new_tokens=8)
    processor = problem.processor(tmp_path, pl.LazyFrame(), Tokenize())
    reads, writes = processor.convert_tokens_to_ids(["__de__", "__fr__"])
    (first, *_, last), target = processor("a b")["input_ids"], processor(text_target="b a")["input_ids"]
    assert (first, last) == (reads, processor.eos_token_id)
    assert (target[0], target[-1]) == (writes, processor.eos_token_id)
    assert languages.shortened(target, 3, processor) == [*target[:2], target[-1]]
    assert languages.decoding(processor) == {"forced_bos_token_id": writes}
    with pytest.raises(InputError, match="there is no language 'fr_XX'"):
        languages.tell(processor, load(source_language="de", target_language="fr_XX").params, tmp_path)


def test_a_marian_whose_tokenizer_is_of_sentencepiece_is_a_base(tmp_path: Path) -> None:
    letters = spelling(tmp_path / "letters")
    base = tmp_path / "base"
    base.mkdir()
    for name in ("source.spm", "target.spm"):
        shutil.copy(letters, base / name)
    pieces = dict.fromkeys(["</s>", "<unk>", *pieces_of(letters), "<pad>"])
    (base / "vocab.json").write_text(json.dumps(dict(zip(pieces, range(len(pieces)), strict=True))))
    files = [str(base / name) for name in ("source.spm", "target.spm", "vocab.json")]
    tokenizer = hf.MarianTokenizer(*files, source_lang="en", target_lang="fr")
    sizes = {"d_model": 32, "max_position_embeddings": 64, "vocab_size": len(tokenizer), **HALVES}
    tokens = {"pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    config = hf.MarianConfig(**sizes, **tokens, eos_token_id=tokenizer.eos_token_id, forced_eos_token_id=None)
    save(hf.MarianMTModel(config), tokenizer, base)
    problem = load(max_new_tokens=6, max_target_length=5)
    processor = problem.processor(base, pl.LazyFrame(), Tokenize())
    rows = pl.DataFrame({"text": ["is it late", "no"], "target": ["est ce en retard", "n"]})
    (found,) = problem.encode(processor, rows, {}, Tokenize())
    assert found.truncated == 1
    assert all(labels[-1] == processor.eos_token_id for labels in found.inputs["labels"].to_pylist())
    model = problem.model(base, processor, {})[0].eval()
    batch = problem.collator(processor)(found.inputs.drop_columns(["length"]).to_pylist())
    predicted = [one["predicted"] for one in problem.predict(model, processor, batch, {})]
    save(model, processor, tmp_path / "package")
    assert serve.answer(*serve.load(str(tmp_path / "package")), rows["text"].to_list()) == predicted


@pytest.mark.parametrize(
    "family", [None, *(pytest.param(family, marks=pytest.mark.slow) for family in (bart, t5))]
)
def test_what_is_generated_does_not_depend_on_order_or_neighbours(
    family: Any, tiny_model: Path, tmp_path: Path
) -> None:
    base = tiny_model
    if family is not None:
        base = tmp_path / "base"
        torch.manual_seed(0)
        family(base, tiny_model)
    problem = load(max_new_tokens=8, max_target_length=32, num_beams=2)
    torch.manual_seed(0)
    processor = problem.processor(base, pl.LazyFrame(), Tokenize())
    model = problem.model(base, processor, {})[0].eval()
    model.save_pretrained(tmp_path / "kept")
    processor.save_pretrained(tmp_path / "kept")
    again = problem.model(tmp_path / "kept", processor, {})[0].eval()
    texts = ["my order is late", "refund", "is it about the money of my account again please", "hello"]
    rows = pl.DataFrame({"text": texts, "target": texts})

    def said(its: Any, some: pl.DataFrame, batch_size: int) -> list[str]:
        from datasets import Dataset

        (encoded,) = problem.encode(processor, some, {}, Tokenize())
        data = Dataset.from_list(encoded.inputs.to_pylist())
        return predicting.predict(problem, its, processor, data, some, {}, batch_size)["predicted"].to_list()

    together = said(model, rows, 4)
    assert said(model, rows, 1) == said(model, rows.reverse(), 3)[::-1] == said(again, rows, 4) == together
    assert model.generation_config.num_beams == again.generation_config.num_beams == 2
