"""Speech recognition: texts as they are compared, CTC's repeated characters, words and characters counted, spoken digits."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers as hf

from tasks import problems
from tasks.problems import Problem
from tasks.problems.automatic_speech_recognition import seq2seq, texts
from tasks.problems.automatic_speech_recognition.params import Own
from tasks.problems.common import pretrained
from tasks.problems.common.sounds import extractors, serve
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Ingest, Model, Params, Train
from tasks.shared.statistics import values
from tests.support.project import SHARED
from tests.support.six_stages import through
from tests.support.sounds import PITCHES, waves, written

SCRATCH: dict[str, Any] = {
    "type": "wav2vec2-bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_depthwise_kernel_size": 3,
}
WAVES: dict[str, Any] = {
    "type": "wav2vec2",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8],
    "conv_kernel": [400, 2],
    "conv_stride": [320, 1],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
}
WHISPER: dict[str, Any] = {
    "type": "whisper",
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_target_positions": 40,
}
SAID = ("low tone", "Middle!", "high all")


def made_with(**own: Any) -> Problem:
    scratch = {"name": None, "revision": None, "from_scratch": SCRATCH}
    params = Params.model_validate(
        {"problem": "automatic_speech_recognition", "automatic_speech_recognition": own, "model": scratch}
    )
    return problems.load(params.problem, params.own)


def spoken(folder: Path, count: int = 36) -> list[dict[str, Any]]:
    """Write sounds into a folder and return rows that name them."""
    rows = []
    for number in range(count):
        samples = waves(PITCHES[number % 3], 0.6 + number % 5 / 20, seed=number)
        (folder / f"{number}.wav").write_bytes(written(samples))
        rows.append({"audio": f"{number}.wav", "text": SAID[number % 3]})
    return rows


def test_texts_are_compared_as_they_are_by_default_and_as_params_say() -> None:
    assert texts.normalised(" It\u2019s  7, o\u2019clock|now ", Own()) == "It\u2019s 7, o\u2019clock now"
    # composed and decomposed are one
    assert texts.normalised("cafe\u0301", Own()) == "caf\u00e9"
    params = Own(lowercase=True, strip_punctuation=True, words={"7": "seven"})
    assert texts.normalised("It's 7, o'clock \u2014 now! \u0928\u092e\u0938\u094d\u0924\u0947", params) == (
        "it's seven o'clock now \u0928\u092e\u0938\u094d\u0924\u0947"
    )
    rows = pl.DataFrame({"audio": ["a", "b"], "text": ["...", "one"]})
    assert made_with(strip_punctuation=True).reject(rows, Ingest()).to_list() == [
        "nothing is left of its text once it is normalised",
        None,
    ]


def test_edits_are_those_of_levenshtein() -> None:
    assert texts.edits("kitten", "sitting") == 3
    assert texts.edits("", "abc") == texts.edits("abc", "") == 3
    assert texts.edits(["the", "cat", "sat"], ["the", "cat", "sat", "on"]) == 1
    assert texts.edits([], []) == 0


def test_edits_of_any_two_texts_are_those_of_the_table_of_distances() -> None:
    draw = np.random.default_rng(0)
    for length in (0, 1, 2, 7, 63, 64, 65, 130):
        for other in (0, 1, 3, 64, 90):
            said, actual = ("".join(draw.choice(list("abcd"), size)) for size in (length, other))
            row = list(range(other + 1))
            for number, one in enumerate(said, start=1):
                above, row = row, [number]
                for place, letter in enumerate(actual, start=1):
                    row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (one != letter)))
            assert texts.edits(said, actual) == row[-1]


def test_edits_of_long_texts_are_counted_in_no_time() -> None:
    said, actual = "a b c d e " * 400, "a c b d f " * 400
    begun = time.process_time()
    assert texts.edits(said, actual) == 1200
    # a table of both took minutes
    assert time.process_time() - begun < 5


def test_a_base_that_knows_capitals_alone_reads_small_letters_as_them_and_writes_small_ones(
    tmp_path: Path,
) -> None:
    capitals = texts.tokenizer(list("AEFHORTUS"))
    made = texts.suited(capitals, ["three four", "see"], tmp_path)
    made.save_pretrained(tmp_path)
    again = pretrained.characters(tmp_path)
    ids = again("three four")["input_ids"]
    assert again.unk_token_id not in ids
    assert again.decode([one for token in ids for one in (token, again.pad_token_id)]) == "three four"
    # texts in capitals stay as they are
    made = texts.suited(texts.tokenizer(list("AEFHORTUS")), ["THREE FOUR"], tmp_path)
    assert not made.do_lower_case


def test_the_share_of_unknown_tokens_is_of_a_text_s_tokens_and_not_of_a_sound_s_frames(
    tmp_path: Path,
) -> None:
    rows = pl.DataFrame(spoken(tmp_path, 3))
    problem = made_with(max_seconds=1.0)
    problem.media = tmp_path
    base = base_models.fetch(Model(name=None, from_scratch=SCRATCH))
    processor = problem.processor(base, pl.LazyFrame({"text": ["low tone"]}), Params().tokenize)
    (made,) = problem.encode(processor, rows, {}, Params().tokenize)
    assert made.tokens == sum(map(len, SAID))
    # M, i, d, d, ! and h, i, g, h, a
    assert made.unknown == 10


def test_word_and_character_error_rates_are_sums_over_all_rows() -> None:
    rows = pl.DataFrame({"text": ["one two three", "four"]})
    predictions = pl.DataFrame({"predicted": ["one too three", None]})
    found = values(made_with().measure(predictions, rows, {}))
    assert found == {"wer": 2 / 4, "cer": (1 + 4) / (13 + 4), "exact_match": 0.0}
    perfect = values(
        made_with(lowercase=True).measure(
            pl.DataFrame({"predicted": ["ONE"]}), pl.DataFrame({"text": ["one"]}), {}
        )
    )
    assert perfect == {"wer": 0.0, "cer": 0.0, "exact_match": 1.0}


def test_a_tokenizer_of_characters_writes_repeated_ones_between_blanks(tmp_path: Path) -> None:
    known = texts.characters(["three four", "see"])
    assert known == list("efhorstu")
    made = texts.tokenizer(known)
    made.save_pretrained(tmp_path)
    again = pretrained.characters(tmp_path)
    for tokenizer in (made, again):
        assert tokenizer.pad_token_id == 0
        ids = tokenizer("three four")["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == list("three|four")
        assert tokenizer("x")["input_ids"] == [tokenizer.unk_token_id]
    # t t h _ r e _ e | | f: the blank keeps two letters apart
    t, h, r, e, f = (made.convert_tokens_to_ids(one) for one in "thref")
    between = made.convert_tokens_to_ids("|")
    row = [t, t, h, 0, r, e, 0, e, between, between, f, f, made.unk_token_id]
    logits = torch.nn.functional.one_hot(torch.tensor([[*row, h, h]]), len(made)).float()
    model = hf.AutoModelForCTC.from_config(
        hf.AutoConfig.for_model(
            "wav2vec2-bert",
            vocab_size=len(made),
            **{name: size for name, size in SCRATCH.items() if name != "type"},
        )
    )
    mask = torch.tensor([[1] * len(row) + [0, 0]])
    assert serve.texts(again, model, {"attention_mask": mask}, logits) == ["three f"]


@pytest.mark.slow
@pytest.mark.parametrize("scratch", [SCRATCH, WAVES], ids=lambda its: its["type"])
def test_what_is_written_down_is_served_and_shown(scratch: dict[str, Any], tmp_path: Path) -> None:
    rows = spoken(tmp_path)
    problem, paths = through(
        tmp_path,
        {"name": None, "revision": None, "from_scratch": scratch},
        rows,
        problem="automatic_speech_recognition",
        automatic_speech_recognition={"lowercase": True, "strip_punctuation": True, "max_seconds": 2.0},
        train={"num_train_epochs": 2.0, "learning_rate": 0.01},
    )
    test = pl.read_parquet(paths.split("test"))
    assert read_json(paths.metric("package"))["predictions_repeated"] == test.height
    assert read_json(paths.metric("evaluate"))["headline"] == {"name": "wer", "higher_is_better": False}
    vocabulary = read_json(paths.package / "vocab.json")
    assert vocabulary.keys() == {"<pad>", "<unk>", "|", *"adeghilmnotw"}
    shown = pl.read_csv(paths.plots / "samples.csv")
    assert set(shown["expected"]) <= {"low tone", "middle", "high all"}
    assert set(pl.read_csv(paths.plots / "predictions.csv")["actual"]) <= set(shown["expected"])
    assert (paths.plots / "figures/samples.png").exists()
    # as the base of another training the package brings its own characters
    processor = problem.processor(paths.package, pl.LazyFrame({"text": ["ago"]}), Params().tokenize)
    assert processor.tokenizer.get_vocab().keys() == vocabulary.keys()
    unknown = r"67% of the characters of train's texts are unknown to .*, such as y z; write texts otherwise"
    with pytest.raises(InputError, match=unknown):
        problem.processor(paths.package, pl.LazyFrame({"text": ["yaz"]}), Params().tokenize)


@pytest.mark.slow
def test_what_a_decoder_writes_is_served_by_the_pipeline(tmp_path: Path) -> None:
    rows = spoken(tmp_path)
    problem, paths = through(
        tmp_path,
        {"name": None, "revision": None, "from_scratch": WHISPER},
        rows,
        problem="automatic_speech_recognition",
        automatic_speech_recognition={
            "lowercase": True,
            "strip_punctuation": True,
            "max_seconds": 2.0,
            "max_new_tokens": 12,
            "validation_rows": 4,
        },
        train={"num_train_epochs": 25.0, "learning_rate": 0.02, "warmup_steps": 0.1},
    )
    test = pl.read_parquet(paths.split("test"))
    assert read_json(paths.metric("package"))["predictions_repeated"] == test.height
    # it has learned to spell, at least
    predicted = pl.read_csv(paths.plots / "predictions.csv")["predicted"].to_list()
    assert set(predicted) & {"low tone", "middle", "high all"}
    assert "wer" in read_json(paths.metric("train"))["validation"]
    assert (paths.curves / "validation_wer.csv").exists()
    pipeline = hf.pipeline("automatic-speech-recognition", model=str(paths.package), dtype="float32")
    sounds = [serve.read(str(paths.media / name), 16000, 2.0)[0] for name in test["audio"]]
    said = pipeline([{"raw": sound, "sampling_rate": 16000} for sound in sounds])
    assert [one["text"].strip() for one in said] == predicted
    assert pipeline.model.generation_config.no_timestamps_token_id == 258
    # as the base of another training the package brings its own tokens, and its own way to write
    processor = problem.processor(paths.package, pl.LazyFrame(), Params().tokenize)
    assert len(processor.tokenizer) == 259
    assert problem.model(paths.package, processor, {})[0].generation_config.max_new_tokens == 12


def test_texts_that_a_decoder_learns_begin_and_end_as_it_writes_them() -> None:
    tokenizer = seq2seq._bytes()
    found, cut = seq2seq.labels(tokenizer, ["one", "a longer text"], Own(max_new_tokens=5))
    said = [tokenizer.convert_ids_to_tokens(ids) for ids in found]
    assert said == [
        ["<|notimestamps|>", "\u0120", "o", "n", "e", "<|endoftext|>"],
        ["<|notimestamps|>", "\u0120", "a", "\u0120", "l", "<|endoftext|>"],
    ]
    assert cut == [0, 1]
    assert tokenizer.decode(found[0], skip_special_tokens=True) == " one"


def test_a_decoder_that_cannot_write_so_much_or_in_that_language_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def made(sizes: dict[str, Any], **own: Any) -> None:
        base = base_models.fetch(Model(name=None, from_scratch=sizes))
        seq2seq.processor(base, None, Own(**own))

    with pytest.raises(InputError, match="max_new_tokens: 39 tokens are more than the 38"):
        made(WHISPER, max_new_tokens=39)
    with pytest.raises(InputError, match="language is german, and the model knows no other"):
        made(WHISPER, max_new_tokens=8, language="german")
    with pytest.raises(InputError, match="a moonshine writes down speech in a way"):
        made({"type": "moonshine"})


def test_a_model_of_many_languages_writes_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = base_models.fetch(Model(name=None, from_scratch=WHISPER))
    problem = made_with(max_new_tokens=8, max_seconds=1.0)
    processor = problem.processor(whole, pl.LazyFrame(), Params().tokenize)
    # languages stand in transformers' order
    names = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        "<|en|>",
        "<|zh|>",
        "<|de|>",
        "<|transcribe|>",
        "<|notimestamps|>",
    ]
    known = {byte: number for byte, number in seq2seq._bytes().get_vocab().items() if number < 256}
    processor.tokenizer = hf.WhisperTokenizer(
        vocab=known, merges=[], pad_token=names[0], extra_special_tokens=names[1:]
    )
    network = problem.model(whole, processor, {})[0]
    its = network.generation_config
    assert its.no_timestamps_token_id == 262
    its.is_multilingual, its.lang_to_id, its.task_to_id = True, {"<|de|>": 260}, {"transcribe": 261}
    base = tmp_path / "base"
    for one in (network, processor):
        one.save_pretrained(base)
    with pytest.raises(InputError, match="language is empty and the model knows many"):
        problem.processor(base, pl.LazyFrame(), Params().tokenize)
    with pytest.raises(InputError, match="language: Unsupported language: klingon"):
        made_with(language="klingon").processor(base, pl.LazyFrame(), Params().tokenize)
    problem = made_with(language="german", max_new_tokens=8)
    processor = problem.processor(base, pl.LazyFrame(), Params().tokenize)
    (ids,), _ = seq2seq.labels(processor.tokenizer, ["a"], problem.params)
    assert processor.tokenizer.convert_ids_to_tokens(ids)[:3] == names[4:]
    network = problem.model(base, processor, {})[0].eval()
    sound = serve.features(processor.extractor, waves(300.0, 0.4, rate=16000)[:, 0])
    inputs = serve.batch(processor.extractor, [sound])
    assert len(serve.written(processor.tokenizer, network, inputs)) == 1


def test_what_ctc_cannot_do_is_refused() -> None:
    rows = pl.DataFrame({"text": ["one"]})
    with pytest.raises(InputError, match="label_smoothing_factor"):
        made_with().loss(rows, {}, Train(label_smoothing_factor=0.1))
    with pytest.raises(InputError, match="class_weights"):
        made_with().loss(rows, {}, Train(class_weights="balanced"))
    with pytest.raises(InputError, match="a parakeet_ctc reads no sounds as they are made here"):
        extractors._new(hf.AutoConfig.for_model("parakeet_ctc"), 1.0)


@pytest.mark.shared
def test_the_most_frequent_digit_is_what_anyone_gets() -> None:
    names = sorted((SHARED / "fsdd/recordings").glob("*.wav"))
    digits = [name.name.partition("_")[0] for name in names]
    rows = pl.DataFrame({"audio": digits, "text": digits})
    words = dict(zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True))  # noqa: SIM905
    problem = made_with(words=words)
    said = problem.baselines(rows, rows, {})["most_frequent"]
    assert values(problem.measure(said, rows, {}))["wer"] == pytest.approx(0.9)
    assert np.unique(digits).tolist() == list("0123456789")
