"""Answer questions about pictures with a packaged model, and nothing but transformers.

    echo '[{"image": "shape.png", "question": "What colour is it?"}]' | python serve.py FOLDER

or `from serve import load, answer`. An image is a path, a URL, or one of Pillow's.
"""

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen


def load(folder: str) -> tuple[Any, Any]:
    """Return the processor, which holds a tokenizer and an image processor, and the model of a package."""
    from transformers import AutoModelForVisualQuestionAnswering, ViltProcessor

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    processor = ViltProcessor.from_pretrained(folder, backend="pil", **here)
    model = AutoModelForVisualQuestionAnswering.from_pretrained(
        folder, dtype="float32", use_safetensors=True, **here
    )
    return processor, model.eval()


def picture(image: Any) -> Any:
    """Return a picture as training saw it: the first of several, upright, on white, in 8 bits of RGB.

    image: a path, a URL (of http, https or data), or one of Pillow's. The same function
    stands in serve.py of image-text-to-text: each is all that its package has.
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


def answer(
    processor: Any,
    model: Any,
    rows: list[dict[str, Any]],
    top_k: int = 5,
    batch_size: int = 32,
) -> list[list[dict[str, Any]]]:
    """Return for each {image, question} the likeliest answers: {answer, score}, the best first."""
    import torch

    answers = []
    for at in range(0, len(rows), batch_size):
        some = rows[at : at + batch_size]
        questions = [row["question"] for row in some]
        batch = processor.tokenizer(questions, truncation=True, padding=True, return_tensors="pt")
        pictures = [picture(row["image"]) for row in some]
        batch |= processor.image_processor(pictures, return_tensors="pt")
        with torch.inference_mode():
            shares = model(**batch).logits.double().softmax(dim=1)
        best = shares.topk(min(top_k, shares.shape[1]), dim=1)
        for scores, numbers in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            pairs = zip(scores, numbers, strict=True)
            answers.append(
                [{"answer": model.config.id2label[number], "score": score} for score, number in pairs]
            )
    return answers


def main(folder: str, *_: str) -> None:
    """Print the answers to a JSON list of {image, question} on standard input, as JSON."""
    json.dump(answer(*load(folder), json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
