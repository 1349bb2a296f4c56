"""Turn texts into vectors with a packaged model and nothing but transformers.

`python serve.py FOLDER < texts.json > vectors.json`: a JSON list of texts on standard input,
a list of vectors of length 1 on standard output. How similar two texts are is the product of their vectors.
"""

import json
import sys
from typing import Any

BATCH = 32


def load(folder: str) -> tuple[Any, Any]:
    """Return the tokenizer and the model of a folder."""
    from transformers import AutoModel, AutoTokenizer

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    return AutoTokenizer.from_pretrained(folder, **here), AutoModel.from_pretrained(
        folder, use_safetensors=True, **here
    ).eval()


def answer(tokenizer: Any, model: Any, texts: list[str]) -> list[list[float]]:
    """Return a vector per text: the mean of its tokens' vectors, made to have length 1."""
    import torch

    read = model.get_encoder() if model.config.is_encoder_decoder else model
    found: list[list[float]] = []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(texts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = read(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        weights = batch["attention_mask"].unsqueeze(-1).float()
        vectors = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)
        found += torch.nn.functional.normalize(vectors, dim=-1).tolist()
    return found


if __name__ == "__main__":
    json.dump(answer(*load(sys.argv[1]), json.load(sys.stdin)), sys.stdout)
