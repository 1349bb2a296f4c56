"""A plain script for answers, after transformers' examples/pytorch/question-answering/run_qa.py.

The same flags and defaults, the same features (windows of `max_seq_length` tokens that share `doc_stride`),
Trainer; added is benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from benchmarks.stopwatch import Stopwatch


@dataclass
class Arguments:
    """What is not a TrainingArguments field, named as in the original."""

    model_name_or_path: str
    train_file: str
    max_seq_length: int = 384
    doc_stride: int = 128
    pad_to_max_length: bool = True


def main() -> None:
    args, training = HfArgumentParser((Arguments, TrainingArguments)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    raw = load_dataset("json", data_files={"train": args.train_file}, cache_dir=str(out / "cache"))["train"]
    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path, trust_remote_code=False)
    safe = {"trust_remote_code": False, "use_safetensors": True}
    model = AutoModelForQuestionAnswering.from_pretrained(args.model_name_or_path, **safe)

    def prepare_train_features(examples: dict[str, list[Any]]) -> Any:
        found = tokenizer(
            examples["question"],
            examples["context"],
            truncation="only_second",
            max_length=args.max_seq_length,
            stride=args.doc_stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length" if args.pad_to_max_length else False,
        )
        rows, offsets = found.pop("overflow_to_sample_mapping"), found.pop("offset_mapping")
        found["start_positions"], found["end_positions"] = [], []
        for window, row in enumerate(rows):
            start, end = _positions(
                found.sequence_ids(window), offsets[window], examples["start"][row], examples["end"][row]
            )
            found["start_positions"].append(start)
            found["end_positions"].append(end)
        return found

    tokens = raw.map(prepare_train_features, batched=True, remove_columns=raw.column_names)
    stopwatch = Stopwatch()
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=tokens,
        processing_class=tokenizer,
        data_collator=default_data_collator if args.pad_to_max_length else DataCollatorWithPadding(tokenizer),
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


def _positions(
    sequences: list[int | None], offsets: list[tuple[int, int]], start: int, end: int
) -> tuple[int, int]:
    """Return the first and last token of the answer in a window; (0, 0), the CLS token, if it is not."""
    inside = [token for token, sequence in enumerate(sequences) if sequence == 1]
    if offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return 0, 0
    first = max(token for token in inside if offsets[token][0] <= start)
    last = min(token for token in inside if offsets[token][1] >= end)
    return first, last


if __name__ == "__main__":
    main()
