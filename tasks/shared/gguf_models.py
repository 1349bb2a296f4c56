"""A GGUF file as a base model: its weights dequantised once, into a folder like any other model's."""

from pathlib import Path
from typing import Any

from tasks.shared import converted_models
from tasks.shared.errors import InputError

# the library whose arithmetic decides the weights: another version may be another model under the same name
LIBRARY, VERSION = "gguf", "0.19.0"


def dequantised(file: Path, digest: str) -> Path:
    """Return a folder with a GGUF file's weights in fp32 safetensors, config, tokenizer and chat template.

    digest: the file's SHA-256, by which the folder is found again. Raises InputError when the library that
    reads GGUF is not there in its version, or transformers cannot make a model of the file.
    """
    _check_library()

    def write(out: Path) -> str:
        _write(file, out)
        return f"dequantised from {_kind(file)}"

    facts = {"file": file.name, "sha256": digest}
    return converted_models.once(file, f"gguf-{digest[:16]}", write, facts, [__file__])


def _check_library() -> None:
    from importlib import metadata

    try:
        there = metadata.version(LIBRARY)
    except metadata.PackageNotFoundError:
        there = "none"
    if there != VERSION:
        needs = f"a GGUF file is read with {LIBRARY} {VERSION}, and {there} is installed"
        raise InputError(
            f"model.name: {needs}; `pip install {LIBRARY}=={VERSION}`, or name a model in safetensors"
        )


def _write(file: Path, out: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    here: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    AutoTokenizer.from_pretrained(file.parent, **here).save_pretrained(out)
    whole = GgufConfig(gguf_file=file.name, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, **here, dtype="float32", quantization_config=whole
    )
    # what is left of it says that the weights are packed, which they are no more
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.config.name_or_path = ""
    model.save_pretrained(out)


def _kind(file: Path) -> str:
    """Return what most weights of a file are quantised as, such as Q4_1."""
    from gguf import GGUFReader, LlamaFileType

    field = GGUFReader(file).get_field("general.file_type")
    if field is None:
        return "GGUF"
    return str(LlamaFileType(int(field.contents())).name).removeprefix("MOSTLY_")
