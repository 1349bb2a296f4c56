"""Write captions and answers about pictures with a packaged model, and nothing but transformers.

    echo '[{"image": "shape.png", "text": "What colour is it?"}]' | python serve.py FOLDER

or `from serve import load, answer`. An image is a path, a URL, or one of Pillow's. A row has no text where
the model was trained without. How answers are written stands in generation_config.json.
"""

import json
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen


def load(folder: str) -> tuple[Any, Any]:
    """Return the processor, which holds a tokenizer and an image processor, and the model of a package."""
    from transformers import AutoModelForCausalLM, GitProcessor

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    processor = GitProcessor.from_pretrained(folder, backend="pil", **here)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", use_safetensors=True, **here)
    return processor, model.eval()


def ends(tokenizer: Any) -> tuple[int, int]:
    """Return the tokens that begin a text and end it."""
    first = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    return first, tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id


def prompts(tokenizer: Any, texts: Sequence[str], max_new_tokens: int) -> list[list[int]]:
    """Return the tokens of each text behind the first one, cut so that an answer has its place."""
    most = tokenizer.model_max_length - max_new_tokens
    first, _ = ends(tokenizer)
    found = tokenizer(list(texts), add_special_tokens=False, truncation=False)["input_ids"]
    return [[first, *ids][:most] for ids in found]


def generated(processor: Any, model: Any, batch: Any) -> list[str]:
    """Return what a model writes for each row of a batch; prompts of one length go together.

    The model counts positions through padding, so there must be none.
    """
    import torch

    lengths = batch["attention_mask"].sum(dim=1)
    texts = [""] * len(lengths)
    for length in lengths.unique().tolist():
        (rows,) = torch.nonzero(lengths == length, as_tuple=True)
        ids, pixels = batch["input_ids"][rows, :length], batch["pixel_values"][rows]
        with torch.inference_mode():
            found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)
        said = processor.tokenizer.batch_decode(found[:, length:], skip_special_tokens=True)
        for row, text in zip(rows.tolist(), said, strict=True):
            texts[row] = text.strip()
    return texts


def picture(image: Any) -> Any:
    """Return a picture as training saw it: the first of several, upright, on white, in 8 bits of RGB.

    image: a path, a URL (of http, https or data), or one of Pillow's. The same function
    stands in serve.py of visual question answering: each is all that its package has.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if isinstance(image, str | Path):
        name = str(image)
        is_url = name.startswith(("http://", "https://", "data:"))
        content = urlopen(name).read() if is_url else Path(name).read_bytes()  # noqa: S310 (of these alone)
        image = Image.open(BytesIO(content))
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        bits = np.clip(np.asarray(upright), 0, 65535) // 257
        return Image.fromarray(bits.astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        above = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above).convert("RGB")
    return upright.convert("RGB")


def answer(processor: Any, model: Any, rows: list[dict[str, Any]], batch_size: int = 64) -> list[str]:
    """Return what the model writes about each {image, text}."""
    given = [row.get("text", "") for row in rows]
    ids = prompts(processor.tokenizer, given, model.generation_config.max_new_tokens)
    order = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
    answers = [""] * len(rows)
    for at in range(0, len(order), batch_size):
        some = order[at : at + batch_size]
        tokens = [{"input_ids": ids[number]} for number in some]
        batch = processor.tokenizer.pad(tokens, padding_side="right", return_tensors="pt")
        pictures = [picture(rows[number]["image"]) for number in some]
        batch |= processor.image_processor(pictures, return_tensors="pt")
        for number, text in zip(some, generated(processor, model, batch), strict=True):
            answers[number] = text
    return answers


def main(folder: str, *_: str) -> None:
    """Print what the model writes about a JSON list of {image, text} on standard input, as JSON."""
    json.dump(answer(*load(folder), json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
