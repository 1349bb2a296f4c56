"""A plain script for tags, after transformers' examples/pytorch/token-classification/run_ner.py.

The same flags and defaults, `dataset.map`, DataCollatorForTokenClassification, Trainer; added is
benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.stopwatch import Stopwatch


@dataclass
class Arguments:
    """What is not a TrainingArguments field, named as in the original."""

    model_name_or_path: str
    train_file: str
    max_seq_length: int = 128


def main() -> None:
    args, training = HfArgumentParser((Arguments, TrainingArguments)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    raw = load_dataset("json", data_files={"train": args.train_file}, cache_dir=str(out / "cache"))["train"]
    labels = sorted({tag for tags in raw["tags"] for tag in tags})
    ids = {label: number for number, label in enumerate(labels)}
    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path, trust_remote_code=False)
    safe = {"trust_remote_code": False, "use_safetensors": True}
    model = AutoModelForTokenClassification.from_pretrained(
        args.model_name_or_path, num_labels=len(labels), **safe
    )

    def tokenize_and_align(examples: dict[str, list[Any]]) -> Any:
        found = tokenizer(
            examples["tokens"], truncation=True, max_length=args.max_seq_length, is_split_into_words=True
        )
        found["labels"] = []
        for row, tags in enumerate(examples["tags"]):
            words = found.word_ids(batch_index=row)
            before = [None, *words[:-1]]
            # the first token of a word stands for it
            is_first = [word is not None and word != last for word, last in zip(words, before, strict=True)]
            found["labels"].append(
                [ids[tags[word]] if first else -100 for word, first in zip(words, is_first, strict=True)]
            )
        return found

    tokens = raw.map(tokenize_and_align, batched=True, remove_columns=raw.column_names)
    stopwatch = Stopwatch()
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=tokens,
        processing_class=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


if __name__ == "__main__":
    main()
