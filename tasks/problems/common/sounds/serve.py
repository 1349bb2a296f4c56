"""Say with a packaged model what is heard in sounds, with nothing but transformers, soundfile and soxr.

    echo '["a.wav", "b.flac"]' | python serve.py FOLDER

or `from serve import load, answer`. WAV, FLAC, OGG and MP3 are read, at any rate, their channels as one.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BATCH = 32
# what is shorter is followed by silence: a model's layers need more than one window
LEAST = 0.1
# seconds
LONGEST = 1e6
# seconds of a waveform that count as one frame
FRAME = 0.02


def read(file: Any, rate: int, seconds: float = math.inf) -> tuple[np.ndarray, bool]:
    """Return a file's sound (samples,) float32 at a rate, and whether it was cut at so many seconds."""
    import soundfile
    import soxr

    with soundfile.SoundFile(file) as opened:
        its_rate = opened.samplerate
        most = math.floor(min(seconds, LONGEST) * its_rate)
        # one more, by which it is seen whether there is more
        heard = opened.read(most + 1, dtype="float32", always_2d=True)
    is_cut, heard = len(heard) > most, heard[:most]
    sound = heard[:, 0] if heard.shape[1] == 1 else heard.mean(axis=1, dtype=np.float32)
    if its_rate != rate:
        sound = soxr.resample(sound, its_rate, rate)
    missing = math.ceil(LEAST * rate) - len(sound)
    if missing > 0:
        sound = np.pad(sound, (0, missing))
    return sound, is_cut


def frames(extractor: Any) -> int | None:
    """Return how many frames a feature extractor makes of any sound; None where that depends on the sound."""
    kind = type(extractor).__name__
    if kind == "WhisperFeatureExtractor":
        return int(extractor.nb_max_frames)
    return int(extractor.max_length) if kind == "ASTFeatureExtractor" else None


def features(extractor: Any, sound: np.ndarray) -> np.ndarray:
    """Return what a model is given of a sound: (frames, bins) float32, or (samples, 1) of a waveform.

    Frames at the end that are all the same, as silence makes them up to a fixed number, are left out but one.
    """
    made = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="np")
    found: np.ndarray = np.asarray(made[extractor.model_input_names[0]][0], np.float32)
    if found.ndim == 1:
        return found[:, None]
    if frames(extractor) is None:
        heard: np.ndarray = found[made["attention_mask"][0].astype(bool)]
        return heard
    if type(extractor).__name__ == "WhisperFeatureExtractor":
        found = found.T
    others = np.flatnonzero((found != found[-1]).any(axis=1))
    return found[: others[-1] + 2 if len(others) else 1]


def batch(extractor: Any, some: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the model's inputs for the features of some sounds, as tensors."""
    import torch

    fixed, name = frames(extractor), extractor.model_input_names[0]
    if fixed is not None:
        whole = np.stack([np.pad(its, ((0, fixed - len(its)), (0, 0)), mode="edge") for its in some])
        is_upright = type(extractor).__name__ == "WhisperFeatureExtractor"
        return {name: torch.from_numpy(whole.transpose(0, 2, 1).copy() if is_upright else whole)}
    longest = max(len(its) for its in some)
    if not extractor.return_attention_mask:
        # such a model takes silence for a part of the sound: there is always as much of it
        longest = math.ceil(extractor.max_seconds * extractor.sampling_rate)
    padded = np.full((len(some), longest, some[0].shape[1]), extractor.padding_value, np.float32)
    mask = np.zeros((len(some), longest), np.int64)
    for row, its in enumerate(some):
        padded[row, : len(its)] = its
        mask[row, : len(its)] = 1
    made = {name: torch.from_numpy(padded[..., 0] if padded.shape[2] == 1 else padded)}
    return {**made, "attention_mask": torch.from_numpy(mask)} if extractor.return_attention_mask else made


@dataclass
class Processor:
    """What turns sounds into a model's inputs, and what it answers into text where it writes down speech."""

    extractor: Any
    tokenizer: Any = None

    @property
    def has_decoder(self) -> bool:
        """Whether a decoder writes tokens one after another, as Whisper's does; else CTC, or labels."""
        return type(self.tokenizer).__name__ == "WhisperTokenizer"

    def save_pretrained(self, folder: Any, **_: Any) -> None:
        """Write what there is of both, each into files of its own."""
        self.extractor.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)


def load(folder: str) -> tuple[Processor, Any]:
    """Return the processor and the model of a package."""
    import transformers

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    settings = transformers.AutoConfig.from_pretrained(folder, **here)
    (name,) = settings.architectures
    head, tokenizer = transformers.AutoModelForAudioClassification, None
    if name.endswith("ForCTC"):
        head = transformers.AutoModelForCTC
        tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder, **here)
    elif name.endswith("ForConditionalGeneration"):
        head = transformers.AutoModelForSpeechSeq2Seq
        tokenizer = transformers.WhisperTokenizer.from_pretrained(folder, **here)
    model = head.from_pretrained(folder, dtype="float32", use_safetensors=True, **here)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, **here)
    return Processor(extractor, tokenizer), model.eval()


def answer(processor: Processor, model: Any, files: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each file the likeliest label and its probability {label, score}, or what is said {text}."""
    import torch

    extractor = processor.extractor
    found: list[dict[str, Any]] = []
    heard = extractor.sampling_rate, extractor.max_seconds
    if processor.has_decoder:
        return piped(processor, model, (read(file, *heard)[0] for file in files))
    for start in range(0, len(files), BATCH):
        some = [features(extractor, read(file, *heard)[0]) for file in files[start : start + BATCH]]
        inputs = batch(extractor, some)
        with torch.inference_mode():
            logits = model(**inputs).logits
        if processor.tokenizer is not None:
            found += [{"text": text} for text in texts(processor.tokenizer, model, inputs, logits)]
            continue
        for score, number in zip(*logits.softmax(-1).max(-1), strict=True):
            found.append({"label": model.config.id2label[int(number)], "score": float(score)})
    return found


def frames_answered(model: Any, inputs: Mapping[str, Any], logits: Any) -> list[int]:
    """Return how many frames of each row of logits (rows, frames, tokens) are no padding."""
    mask = inputs.get("attention_mask")
    if mask is None:
        return [logits.shape[1]] * logits.shape[0]
    found: list[int] = model._get_feat_extract_output_lengths(mask.sum(-1)).tolist()  # noqa: SLF001
    return found


def texts(tokenizer: Any, model: Any, inputs: Mapping[str, Any], logits: Any) -> list[str]:
    """Return what the likeliest token of each frame spells: repeated ones are one, and blanks none."""
    blank = tokenizer.pad_token_id
    # such as <unk>; the tokenizer would leave out blanks too, which keep repeated characters apart
    unsaid = set(tokenizer.all_special_ids) - {blank, tokenizer.word_delimiter_token_id}
    found = []
    for row, count in zip(logits.argmax(-1).tolist(), frames_answered(model, inputs, logits), strict=True):
        found.append(tokenizer.decode([blank if token in unsaid else token for token in row[:count]]))
    return found


def piped(processor: Processor, model: Any, sounds: Iterable[np.ndarray]) -> list[dict[str, Any]]:
    """Return {text}, what transformers' pipeline writes of sounds (samples,) at the extractor's rate."""
    from transformers import AutomaticSpeechRecognitionPipeline

    parts = {"feature_extractor": processor.extractor, "tokenizer": processor.tokenizer}
    write = AutomaticSpeechRecognitionPipeline(model, **parts, device=model.device)
    rate = processor.extractor.sampling_rate
    given = ({"raw": sound, "sampling_rate": rate} for sound in sounds)
    return [{"text": said["text"].strip()} for said in write(given, batch_size=BATCH)]


def written(tokenizer: Any, model: Any, inputs: Mapping[str, Any]) -> list[str]:
    """Return what a decoder writes of each row of a batch."""
    import torch

    heard = inputs["input_features"]
    # of a window all is heard, silence too
    mask = torch.ones((len(heard), heard.shape[-1]), dtype=torch.int64, device=heard.device)
    with torch.inference_mode():
        found = model.generate(heard, attention_mask=mask)
    return [text.strip() for text in tokenizer.batch_decode(found, skip_special_tokens=True)]


def main(folder: str, *_: str) -> None:
    """Print what is heard in each file of a JSON list on standard input, as JSON."""
    json.dump(answer(*load(folder), json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
