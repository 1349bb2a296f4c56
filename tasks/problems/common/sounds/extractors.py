"""What makes a model's inputs of sounds: the base model's feature extractor, or a new one."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tasks.shared.errors import InputError

BINS = 80
# samples from a frame of AST's to the next
AST_STEP = 160
# what is made for a model from scratch; the others read waveforms
LOG_MEL = {
    "audio-spectrogram-transformer": "ASTFeatureExtractor",
    "wav2vec2-bert": "SeamlessM4TFeatureExtractor",
    "whisper": "WhisperFeatureExtractor",
}
WAVEFORM = "Wav2Vec2FeatureExtractor"


def extractor(base: Path, seconds: float) -> Any:
    """Return the base model's feature extractor, or one of the kind that a model from scratch reads.

    seconds: how much of a sound the model is given. Raises InputError where the base has none, or one that is
    not known here.
    """
    from tasks.problems.common import pretrained

    if pretrained.is_from_scratch(base):
        return _new(pretrained.config(base), seconds)
    made = pretrained.feature_extractor(base)
    if type(made).__name__ not in (known := {*LOG_MEL.values(), WAVEFORM}):
        kinds = ", ".join(sorted(known))
        raise InputError(f"model.name: {base} has a {type(made).__name__}, and known are {kinds}")
    # it hears no more than its window
    made.max_seconds = min(seconds, _window(made))
    return made


def _window(extractor: Any) -> float:
    """Return how many seconds of a sound become a fixed number of frames; infinity where none is fixed."""
    kind = type(extractor).__name__
    if kind == "WhisperFeatureExtractor":
        return float(extractor.chunk_length)
    if kind == "ASTFeatureExtractor":
        return float(extractor.max_length * AST_STEP / extractor.sampling_rate)
    return math.inf


def _new(settings: Any, seconds: float) -> Any:
    """Return what makes the inputs of a model from scratch."""
    import transformers

    kind = LOG_MEL.get(settings.model_type, WAVEFORM)
    if kind == WAVEFORM and not hasattr(settings, "conv_stride"):
        known = ", ".join([*LOG_MEL, "and those that read waveforms, such as wav2vec2"])
        what = f"a {settings.model_type} reads no sounds as they are made here"
        raise InputError(f"model.from_scratch: {what}; name another type: {known}")
    how: dict[str, Any] = {"max_seconds": seconds}
    if kind == WAVEFORM:
        # group norm is over all of a sound, with what pads it (transformers' own advice)
        has_mask = getattr(settings, "feat_extract_norm", "layer") == "layer"
        how |= {"do_normalize": True, "return_attention_mask": has_mask}
    if kind == "WhisperFeatureExtractor":
        how |= {"chunk_length": int(np.ceil(seconds)), "feature_size": BINS}
    if kind == "ASTFeatureExtractor":
        how |= {"max_length": int(np.ceil(100 * seconds)), "num_mel_bins": BINS}
    return getattr(transformers, kind)(**how)


def settings(base: Path, extractor: Any) -> dict[str, Any]:
    """Return what the config of a model says that is given what an extractor makes.

    Masks that a model draws itself are switched off: it fails on sounds that are shorter than one.
    """
    from tasks.problems.common import pretrained

    its = pretrained.config(base)
    found: dict[str, Any] = {"apply_spec_augment": False} if hasattr(its, "apply_spec_augment") else {}
    if not pretrained.is_from_scratch(base):
        return found
    if its.model_type == "whisper":
        found |= {"max_source_positions": extractor.nb_max_frames // 2, "num_mel_bins": BINS}
    if its.model_type == "audio-spectrogram-transformer":
        found |= {"max_length": extractor.max_length, "num_mel_bins": BINS}
    if its.model_type == "wav2vec2-bert":
        found |= {"feature_projection_input_dim": extractor.num_mel_bins * extractor.stride}
    return found


def width(extractor: Any) -> int:
    """Return how many numbers a frame has; 1 of a waveform."""
    kind = type(extractor).__name__
    if kind == WAVEFORM:
        return 1
    if kind == "WhisperFeatureExtractor":
        return int(extractor.feature_size)
    return int(extractor.num_mel_bins * (extractor.stride if kind == "SeamlessM4TFeatureExtractor" else 1))
