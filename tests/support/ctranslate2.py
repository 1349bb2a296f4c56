"""A Whisper in CTranslate2's format, written by what its format says: that of a small model of transformers."""

import json
import struct
from pathlib import Path

import numpy as np
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tasks.shared.ctranslate2_files import SIZES, TYPES
from tasks.shared.ctranslate2_models import ENGLISH, FLAGS, FUSED, NAMES, PLAIN

SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")
NUMBERS = {name: number for number, name in TYPES.items()}


def text(word: str) -> bytes:
    """Return a name as a file has it."""
    return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"


def variable(name: str, array: np.ndarray) -> bytes:
    """Return a variable as a file has it."""
    type_ = str(array.dtype)
    head = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    size = struct.pack("<BI", NUMBERS[type_], array.size * SIZES[type_])
    return text(name) + head + size + array.tobytes()


def written(
    variables: dict[str, np.ndarray],
    kind: str = "WhisperSpec",
    version: int = 6,
    aliases: dict[str, str] | None = None,
) -> bytes:
    """Return what a file of variables holds."""
    found = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(variables))
    found += b"".join(variable(name, array) for name, array in variables.items())
    names = aliases or {}
    return found + struct.pack("<I", len(names)) + b"".join(text(a) + text(b) for a, b in names.items())


def small(seed: int = 0) -> WhisperForConditionalGeneration:
    """Return a small Whisper for English, drawn at random."""
    import torch

    torch.manual_seed(seed)
    sizes = {"d_model": 8, "num_mel_bins": 80, "max_source_positions": 50, "max_target_positions": 20}
    layers = dict.fromkeys(("encoder_layers", "decoder_layers"), 2)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    wide = dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 12)
    return WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=ENGLISH, **sizes, **layers, **heads, **wide)
    ).eval()


def variables(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """Return a model's weights by CTranslate2's names, in fp16."""
    weights = {name: its.numpy().astype(np.float16) for name, its in model.state_dict().items()}
    theirs = {ours: name for name, ours in NAMES.items() if name in ("gamma", "beta")}
    plain = {ours: name for name, ours in PLAIN.items()}
    found = {f"decoder/{name}": np.array(value, np.int8) for name, value in FLAGS.items()}
    for part in ("encoder", "decoder"):
        found[f"{part}/num_heads"] = np.array(2, np.int16)
        for name, its in weights.items():
            *inner, last = name.removeprefix(f"model.{part}.").split(".")
            if not name.startswith(f"model.{part}."):
                continue
            if inner[0] == "layers":
                where, ours = f"{part}/layer_{inner[1]}", ".".join(inner[2:])
                if ours in plain:
                    named = theirs[last] if plain[ours].endswith("layer_norm") else last
                    found[f"{where}/{plain[ours]}/{named}"] = its
            elif inner[0] in ("layer_norm", "conv1", "conv2"):
                found[f"{part}/{inner[0]}/{theirs[last] if inner[0] == 'layer_norm' else last}"] = its
        found[f"{part}/position_encodings/encodings"] = weights[f"model.{part}.embed_positions.weight"]
        for number in range(2):
            for name, parts in FUSED.items():
                _fuse(found, weights, f"{part}/layer_{number}/{name}", f"model.{part}.layers.{number}", parts)
    found["decoder/embeddings/weight"] = weights["model.decoder.embed_tokens.weight"]
    return found


def _fuse(
    found: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    name: str,
    where: str,
    parts: tuple[str, ...],
) -> None:
    if f"{where}.{parts[0]}.weight" not in weights:
        return
    found[f"{name}/weight"] = np.concatenate([weights[f"{where}.{part}.weight"] for part in parts])
    width = found[f"{name}/weight"].shape[1]
    none = np.zeros(width, np.float16)
    found[f"{name}/bias"] = np.concatenate([weights.get(f"{where}.{part}.bias", none) for part in parts])


def folder(out: Path, content: bytes) -> Path:
    """Write a folder as CTranslate2 has it: the file, what it says of tokens, and a tokenizer of letters."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.bin").write_bytes(content)
    (out / "config.json").write_text(json.dumps({"suppress_ids": [1, -5, "x"], "suppress_ids_begin": [2]}))
    vocabulary = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    added = [
        {
            "id": len(vocabulary) + number,
            "content": token,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for number, token in enumerate(SPECIAL)
    ]
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    (out / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": added, "model": model}), encoding="utf-8"
    )
    return out
