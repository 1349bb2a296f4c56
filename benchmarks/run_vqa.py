"""A plain script for questions about pictures, after transformers' run_image_classification.py.

Transformers has none for them: the same flags and defaults, `with_transform`, a collate function, Trainer.
The answer is one of the labels (ViLT, by its own loss) or written behind the question (GIT). Pillow reads
pictures, the image processor makes their pixels. Added is benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import load_dataset
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
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
    config = AutoConfig.from_pretrained(args.config_name)
    processor = AutoImageProcessor.from_pretrained(args.config_name, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(args.config_name)
    (name,) = config.architectures
    ids = {label: int(number) for number, label in config.id2label.items()}
    writes = name.endswith("ForCausalLM")

    def transforms(examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        pictures = [Image.open(file).convert("RGB") for file in examples["image"]]
        pixels = list(processor(pictures, return_tensors="pt")["pixel_values"])
        if not writes:
            words = tokenizer(examples["text"])["input_ids"]
            labels = torch.nn.functional.one_hot(
                torch.tensor([ids[answer] for answer in examples["answer"]]), len(ids)
            )
            return {"pixel_values": pixels, "input_ids": words, "labels": list(labels.float())}
        prompts = [ids_[:-1] for ids_ in tokenizer(examples["text"])["input_ids"]]
        answers = [ids_[1:] for ids_ in tokenizer(examples["answer"])["input_ids"]]
        pairs = list(zip(prompts, answers, strict=True))
        return {
            "pixel_values": pixels,
            "input_ids": [prompt + answer for prompt, answer in pairs],
            "labels": [torch.tensor([-100] * len(prompt) + answer) for prompt, answer in pairs],
        }

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        words = tokenizer.pad([{"input_ids": row["input_ids"]} for row in examples], return_tensors="pt")
        pixels = torch.stack([row["pixel_values"] for row in examples])
        some = [row["labels"] for row in examples]
        labels = torch.nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=-100)
        return {**words, "pixel_values": pixels, "labels": labels}

    training.remove_unused_columns = False
    stopwatch = Stopwatch()
    trainer = Trainer(
        model=getattr(transformers, name)(config),
        args=training,
        train_dataset=raw.with_transform(transforms),
        processing_class=tokenizer,
        data_collator=collate,
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


if __name__ == "__main__":
    main()
