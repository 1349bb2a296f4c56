"""Generate texts from texts with a packaged model, and nothing but transformers.

    echo '["a text"]' | python serve.py FOLDER

or `from serve import load, answer`. How texts are generated stands in generation_config.json.
"""

import json
import sys
from typing import Any


def load(folder: str) -> tuple[Any, Any]:
    """Return the tokenizer and the model of a package."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype="float32", use_safetensors=True, **here)
    return AutoTokenizer.from_pretrained(folder, **here), model.eval()


def answer(tokenizer: Any, model: Any, texts: list[str], batch_size: int = 64) -> list[str]:
    """Return the text that the model makes of each text; those of like length share a batch."""
    ids = [tokenizer(text, truncation=True)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
    answers = [""] * len(texts)
    for at in range(0, len(order), batch_size):
        some = order[at : at + batch_size]
        batch = tokenizer.pad([{"input_ids": ids[number]} for number in some], return_tensors="pt")
        for number, text in zip(some, generated(tokenizer, model, batch), strict=True):
            answers[number] = text
    return answers


def generated(tokenizer: Any, model: Any, batch: Any) -> list[str]:
    """Return what a model makes of a batch of texts."""
    import torch

    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        found = model.generate(**given)
    texts = tokenizer.batch_decode(found, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [text.strip() for text in texts]


def main(folder: str, *_: str) -> None:
    """Print what the model makes of a JSON list of texts on standard input, as JSON."""
    json.dump(answer(*load(folder), json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
