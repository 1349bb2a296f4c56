"""A plain script for language models, after transformers' examples/pytorch/language-modeling/run_clm.py.

The same flags, all texts joined and cut into blocks of `block_size` tokens, Trainer; added is
benchmarks/stopwatch.py. Here the model is from scratch, with the config and the tokenizer in `config_name`.
"""

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
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

    config_name: str
    train_file: str
    block_size: int = 256


def main() -> None:
    args, training = HfArgumentParser((Arguments, TrainingArguments)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    raw = load_dataset("json", data_files={"train": args.train_file}, cache_dir=str(out / "cache"))["train"]
    tokenizer = AutoTokenizer.from_pretrained(args.config_name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(args.config_name, trust_remote_code=False)
    )

    def tokenize(examples: dict[str, list[Any]]) -> Any:
        return tokenizer(examples["text"], return_token_type_ids=False)

    def group_texts(examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        joined = {name: list(chain.from_iterable(rows)) for name, rows in examples.items()}
        total = len(joined["input_ids"]) // args.block_size * args.block_size
        starts = range(0, total, args.block_size)
        blocks = {
            name: [row[start : start + args.block_size] for start in starts] for name, row in joined.items()
        }
        return {**blocks, "labels": [list(block) for block in blocks["input_ids"]]}

    tokens = raw.map(tokenize, batched=True, remove_columns=raw.column_names).map(group_texts, batched=True)
    stopwatch = Stopwatch()
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=tokens,
        processing_class=tokenizer,
        data_collator=default_data_collator,
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


if __name__ == "__main__":
    main()
