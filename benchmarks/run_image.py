"""A plain script for pictures, after transformers' run_image_classification.py.

The same flags and defaults, `with_transform` and a collate function, Trainer. The original has its
transforms from torchvision; here the image processor makes the pixels of what Pillow reads. Added is
benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.stopwatch import Stopwatch


@dataclass
class Arguments:
    """What is not a TrainingArguments field, named as in the original."""

    config_name: str
    train_file: str


def main() -> None:
    args, training = HfArgumentParser((Arguments, TrainingArguments)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    raw = load_dataset("json", data_files={"train": args.train_file}, cache_dir=str(out / "cache"))["train"]
    processor = AutoImageProcessor.from_pretrained(args.config_name, backend="pil")
    model = AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(args.config_name))
    ids = {label: int(number) for number, label in model.config.id2label.items()}

    def transforms(examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        pictures = [Image.open(file).convert("RGB") for file in examples["image"]]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels), "labels": [ids[label] for label in examples["label"]]}

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        pixels = torch.stack([example["pixel_values"] for example in examples])
        return {"pixel_values": pixels, "labels": torch.tensor([example["labels"] for example in examples])}

    training.remove_unused_columns = False
    stopwatch = Stopwatch()
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=raw.with_transform(transforms),
        processing_class=processor,
        data_collator=collate,
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


if __name__ == "__main__":
    main()
