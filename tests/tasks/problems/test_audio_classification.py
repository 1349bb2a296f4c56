"""Audio classification: what is a sound, every format and family of models, speakers kept apart, and spoken digits as they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import transformers as hf

from tasks import problems
from tasks.ingest import ingest
from tasks.problems import Problem, Unusable
from tasks.problems.common.sounds import extractors, features, reading, serve, spectra
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest, Params, Split
from tasks.shared.paths import Paths
from tasks.split import split
from tests.support.project import SHARED
from tests.support.six_stages import through
from tests.support.sounds import PITCHES, RATE, sound, waves, written

FSDD = SHARED / "fsdd"
FORMATS = [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
WAVES = {**TINY, "conv_dim": [8, 8], "conv_kernel": [400, 2], "conv_stride": [320, 1]}
WAVES |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "audio-spectrogram-transformer": TINY,
    "wav2vec2": {**WAVES, "feat_extract_norm": "layer"},
    "hubert": {**WAVES, "feat_extract_norm": "group"},
    "wav2vec2-bert": {**TINY, "conv_depthwise_kernel_size": 3, "classifier_proj_size": 16},
    "whisper": {
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_layers": 1,
        "classifier_proj_size": 16,
    },
}


def kept(content: bytes, **params: Any) -> problems.Media:
    return reading.keep(content, Ingest(**params))


def why_not(content: bytes, **params: Any) -> str:
    with pytest.raises(Unusable) as raised:
        kept(content, **params)
    return str(raised.value)


def made_with(**own: Any) -> Problem:
    params = Params.model_validate(
        {
            "problem": "audio_classification",
            "audio_classification": own,
            "model": {"name": None, "revision": None, "from_scratch": {"type": "wav2vec2-bert"}},
        }
    )
    return problems.load(params.problem, params.own)


def rows_of(folder: Path, count: int = 60) -> list[dict[str, Any]]:
    """Write sounds into a folder and return rows that name them."""
    for number in range(count):
        (folder / f"{number}.wav").write_bytes(sound(number))
    return [
        {"audio": f"{number}.wav", "label": ["low", "middle", "high"][number % 3]} for number in range(count)
    ]


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_every_format_is_kept_as_it_came_and_heard_alike(
    kind: str, subtype: str | None, tmp_path: Path
) -> None:
    samples = waves(PITCHES[0], 0.5, 16_000)
    content = written(samples, 16_000, kind, subtype)
    found = kept(content)
    assert found.content == content
    assert found.facts["seconds"] == pytest.approx(0.5, abs=0.1)
    assert not found.changed
    file = tmp_path / f"sound{found.suffix}"
    file.write_bytes(content)
    heard, is_cut = serve.read(file, 16_000)
    assert not is_cut
    some = min(len(heard), len(samples))
    assert np.corrcoef(heard[:some], samples[:some, 0])[0, 1] > 0.95


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_another_rate_and_several_channels_sound_alike(rate: int, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    both = waves(PITCHES[0], 0.5, rate, channels=2) * np.float32([0.5, 1.5])
    file.write_bytes(written(both, rate))
    heard, _ = serve.read(file, 16_000)
    expected = waves(PITCHES[0], 0.5, 16_000)[:, 0]
    assert len(heard) == pytest.approx(len(expected), abs=2)
    some = min(len(heard), len(expected))
    assert np.corrcoef(heard[:some], expected[:some])[0, 1] > 0.98


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "GSM610"]
)
def test_every_usual_way_to_write_a_wav_is_read(subtype: str) -> None:
    assert kept(written(waves(PITCHES[0]), subtype=subtype)).suffix == ".wav"


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_a_truncated_file_is_refused(kind: str, subtype: str | None) -> None:
    content = written(waves(PITCHES[0], 1.0, 16_000), 16_000, kind, subtype)
    for share in (0.02, 0.6, 0.95):
        said = why_not(content[: int(len(content) * share)])
        assert said.startswith(("truncated", "no sound that can be read, or a damaged one"))
        assert "0x" not in said


def test_what_is_no_sound_is_refused_whatever_its_name() -> None:
    assert why_not(b"") == "no sound that can be read: it begins as no WAV, FLAC, OGG or MP3 does"
    assert "begins as no" in why_not(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "begins as no" in why_not(written(waves(PITCHES[0]), kind="AIFF"))
    assert "or a damaged one" in why_not(b"RIFF" + bytes(100))
    damaged = bytearray(written(waves(PITCHES[0], 1.0), kind="FLAC"))
    damaged[2000:2400] = bytes(400)
    assert why_not(bytes(damaged))


def test_a_sound_that_holds_nothing_or_no_numbers_or_too_much_is_refused() -> None:
    assert why_not(written(np.zeros((0, 1), np.float32))) == "there is nothing in it to be heard: 0 samples"
    holed = waves(PITCHES[0])
    holed[100] = np.nan
    assert why_not(written(holed, subtype="FLOAT")) == "a sample is NaN or infinite"
    assert why_not(written(waves(PITCHES[0], 2.0)), max_seconds=1.5) == "longer than ingest.max_seconds 1.5"
    assert why_not(written(waves(PITCHES[0], channels=9))) == "9 channels, more than 8"
    assert "500 samples a second" in why_not(written(waves(PITCHES[0], 4, 500), 500))


def test_a_header_that_promises_hours_costs_nothing() -> None:
    content = bytearray(written(waves(PITCHES[0]), kind="FLAC"))
    # the number of samples in STREAMINFO, 36 bits
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    assert why_not(bytes(content))


def test_a_silent_and_a_very_short_sound_are_taken_and_become_finite_features(tmp_path: Path) -> None:
    for kind in FAMILIES:
        extractor = extractors._new(hf.AutoConfig.for_model(kind), 1.0)
        for samples in (np.zeros((RATE, 1), np.float32), waves(PITCHES[0], 0.001)):
            file = tmp_path / "a.wav"
            file.write_bytes(written(samples))
            assert kept(file.read_bytes()).facts["rate"] == RATE
            features = serve.features(extractor, serve.read(file, 16_000, 1.0)[0])
            assert np.isfinite(features).all()
            assert features.shape[1] == extractors.width(extractor)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_channels_bits_and_rates_of_a_sound_do_not_matter(subtype: str, tmp_path: Path) -> None:
    samples = waves(PITCHES[0], 0.5, channels=3)
    content = written(samples * np.array([0.5, 1.0, 1.5], np.float32), subtype=subtype)
    assert kept(content).facts == {"seconds": 0.5, "rate": RATE}
    (tmp_path / "a.wav").write_bytes(content)
    (tmp_path / "plain.wav").write_bytes(written(samples[:, :1]))
    heard, plain = (serve.read(str(tmp_path / name), 16_000)[0] for name in ("a.wav", "plain.wav"))
    assert heard.shape == (8000,)
    assert heard.dtype == np.float32
    assert np.abs(heard - plain).max() < 0.05


def test_a_sound_that_is_gone_is_named(tmp_path: Path) -> None:
    extractor = extractors._new(hf.AutoConfig.for_model("whisper"), 1.0)
    with pytest.raises(InputError, match=r"a.wav is gone, which ingest had kept; run the same command again"):
        list(features.encoded(extractor, pl.Series(["a.wav"]), tmp_path))
    with pytest.raises(InputError, match=r"a.wav is gone"):
        spectra.read(tmp_path / "a.wav", 1.0)


WINDOWS = {
    "ASTFeatureExtractor": 10.24,
    "SeamlessM4TFeatureExtractor": 30.0,
    "Wav2Vec2FeatureExtractor": 30.0,
    "WhisperFeatureExtractor": 30.0,
}


@pytest.mark.parametrize("kind", WINDOWS)
def test_what_a_base_s_window_does_not_hold_is_cut_and_counted(kind: str, tmp_path: Path) -> None:
    getattr(hf, kind)().save_pretrained(tmp_path)
    assert WINDOWS.keys() == {*extractors.LOG_MEL.values(), extractors.WAVEFORM}
    extractor = extractors.extractor(tmp_path, 30.0)
    assert extractor.max_seconds == pytest.approx(WINDOWS[kind])
    assert extractors.extractor(tmp_path, 2.0).max_seconds == 2.0
    (tmp_path / "a.wav").write_bytes(written(waves(PITCHES[0], 12.0)))
    ((_, cut),) = features.encoded(extractor, pl.Series(["a.wav"]), tmp_path)
    assert cut == (WINDOWS[kind] < 12,)


@pytest.mark.parametrize("kind", ["whisper", "audio-spectrogram-transformer"])
def test_what_is_left_out_of_features_is_put_back_exactly(kind: str) -> None:
    extractor = extractors._new(hf.AutoConfig.for_model(kind), 2.0)
    for seconds in (0.3, 1.99, 2.0):
        heard = waves(PITCHES[1], seconds, 16_000)[:, 0]
        (whole,) = extractor(heard, sampling_rate=16_000, return_tensors="np")[extractor.model_input_names[0]]
        features = serve.features(extractor, heard)
        (again,) = serve.batch(extractor, [features])[extractor.model_input_names[0]].numpy()
        assert (again == whole).all()
    assert len(serve.features(extractor, waves(PITCHES[1], 0.3, 16_000)[:, 0])) < 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_models_of_every_family_are_trained_from_scratch_and_served(kind: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, 36)
    own = {"max_seconds": 1.0, "masks": {"time": 0.2, "frequency": 0.2}, "calibration": "temperature"}
    base = tmp_path / "base"
    if kind == "wav2vec2":
        # a base model, with its feature extractor
        settings = hf.Wav2Vec2Config(**FAMILIES[kind])
        hf.Wav2Vec2Model(settings).save_pretrained(base)
        extractors._new(settings, 1.0).save_pretrained(base)
        model: dict[str, Any] = {"name": str(base)}
    else:
        model = {"name": None, "revision": None, "from_scratch": {"type": kind, **FAMILIES[kind]}}
    problem, paths = through(tmp_path, model, rows, problem="audio_classification", audio_classification=own)
    repeated = read_json(paths.metric("package"))["predictions_repeated"]
    assert repeated == pl.read_parquet(paths.split("test")).height
    pictures = {file.stem for file in (paths.plots / "figures").iterdir()}
    assert pictures >= {"confusion_matrix", "reliability", "samples"}
    assert read_json(paths.metric("evaluate"))["baselines"]["log_bands_linear"]["accuracy"] > 0.9
    # the package is a base model again
    again, said = problem.model(paths.package, problem.load_processor(paths.package), {"labels": ["a", "b"]})
    assert again.config.num_labels == 2
    assert said


def test_a_sound_is_cut_where_params_say(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(written(waves(PITCHES[0], 0.5)))
    whole, is_cut = serve.read(file, 16_000, 0.5)
    assert (len(whole), is_cut) == (8_000, False)
    part, is_cut = serve.read(file, 16_000, 0.25)
    assert (len(part), is_cut) == (4_000, True)


def test_masks_are_the_same_for_a_row_and_an_epoch_and_others_in_the_next() -> None:
    problem = made_with(masks={"time": 0.5, "frequency": 0.5})
    assert problem.augments
    assert not made_with().augments
    extractor = extractors._new(hf.AutoConfig.for_model("wav2vec2-bert"), 1.0)
    features = serve.features(extractor, waves(PITCHES[0], 1.0, 16_000)[:, 0])
    row = {"features": features.tobytes(), "labels": 0}
    first, same, other = (
        problem.augment(row, serve.Processor(extractor), np.random.default_rng([0, epoch, 1]))["features"]
        for epoch in (0, 0, 1)
    )
    assert (first == same).all()
    assert not (first == other).all()
    assert 0 < (first != features).mean() < 0.8


def test_a_base_model_that_hears_nothing_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    problem = made_with()
    with pytest.raises(InputError, match="has no feature extractor that can be loaded"):
        problem.processor(tiny_model, pl.LazyFrame(), Params().tokenize)
    hf.ClapFeatureExtractor().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clap"}))
    with pytest.raises(InputError, match="has a ClapFeatureExtractor, and known are"):
        problem.processor(tmp_path, pl.LazyFrame(), Params().tokenize)


def taken_in(folder: Path, data: dict[str, Any], **params: Any) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """Return the rows that ingest takes, and those that it rejects."""
    paths = Paths(folder / "work")
    ingest(Data(**data), Ingest(max_rejected=0.99, **params), made_with(), paths)
    rejected = (paths.ingested / "rejected.jsonl").read_text("utf-8").splitlines()
    return pl.read_parquet(paths.ingested / "rows.parquet"), [json.loads(line) for line in rejected]


def test_faulty_files_are_rejected_rows_with_their_reasons_and_the_others_are_kept(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for label in ("low", "high"):
        (raw / label).mkdir(parents=True)
    good = written(waves(PITCHES[0], 1.0))
    files = {
        "low/good.wav": good,
        "low/flac.wav": written(waves(PITCHES[1]), kind="FLAC"),
        "low/empty.wav": b"",
        "high/cut.wav": good[:5000],
        "high/text.mp3": b"not a sound at all",
    }
    for name, content in files.items():
        (raw / name).write_bytes(content)
    (raw / "high/out.wav").symlink_to(tmp_path / "secret.wav")
    (tmp_path / "secret.wav").write_bytes(good)
    rows, rejected = taken_in(tmp_path, {"path": str(raw)})
    assert rows.select("label", "source_file").rows() == [("low", "low/flac.wav"), ("low", "low/good.wav")]
    assert [Path(name).suffix for name in rows["audio"]] == [".flac", ".wav"]
    said = json.dumps(rejected)
    assert len(rejected) == 4
    for reason in ("the file is empty", "truncated", "begins as no WAV", "leads out of the folder"):
        assert reason in said


def test_sounds_of_one_speaker_stay_on_one_side(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(60):
        (raw / f"{number % 3}_voice{number % 10}_{number}.wav").write_bytes(sound(number))
    data = {"path": str(raw), "media_path": "{label}_{speaker}_{}.wav"}
    rows, _ = taken_in(tmp_path, data)
    assert set(rows["label"]) == {"0", "1", "2"}
    params = Split(method="by_group", group_column="speaker", validation_share=0.3, test_share=0.3)
    paths = Paths(tmp_path / "work")
    split(params, made_with().columns, paths)
    sides = [set(pl.read_parquet(paths.split(name))["speaker"]) for name in ("train", "validation", "test")]
    assert all(sides)
    assert sum(map(len, sides)) == len(set().union(*sides)) == 10


@pytest.mark.slow
@pytest.mark.shared
def test_spoken_digits_have_their_labels_and_their_official_split_by_name(tmp_path: Path) -> None:
    data = {
        "path": str(FSDD),
        "train_file": "recordings/*_{[5-9],[1-4][0-9]}.wav",
        "test_file": "recordings/*_[0-4].wav",
        "media_path": "{label}_{speaker}_{}.wav",
    }
    rows, rejected = taken_in(tmp_path, data)
    assert not rejected
    assert rows.height == 3000
    test = rows.filter(pl.col("source_split") == "test")
    assert test.height == 300
    assert test.group_by("label").len()["len"].to_list() == [30] * 10
    assert (
        set(test["speaker"])
        == set(rows["speaker"])
        == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    )
    described = read_json(Paths(tmp_path / "work").metric("ingest"))["columns"]["audio"]
    assert described["rate"]["p5"] == described["rate"]["p100"] == 8000
    assert described["seconds"]["p50"] == pytest.approx(0.42, abs=0.01)
    assert described["seconds"]["p100"] == pytest.approx(2.28, abs=0.01)
    # shorter than one window of many feature extractors, and taken
    assert rows["audio_seconds"].min() == pytest.approx(0.14, abs=0.01)
