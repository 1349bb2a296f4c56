"""A plain fine-tuning script in the manner of Hugging Face's, for the training benchmark to run beside ours.

After transformers' examples/pytorch/text-classification/run_classification.py: the same flags, the same
defaults (pad_to_max_length, max_seq_length 128, fp32), `load_dataset("csv")`, `dataset.map`, Trainer.
Left out is what the benchmark does not use (regression, several labels a row, evaluation while training,
pushing to a hub); added is benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EvalPrediction,
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
    test_file: str
    max_seq_length: int = 128
    pad_to_max_length: bool = True


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(prediction.predictions.argmax(axis=1) == prediction.label_ids))}


def main() -> None:
    args, training = HfArgumentParser((Arguments, TrainingArguments)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    raw = load_dataset(
        "csv", data_files={"train": args.train_file, "test": args.test_file}, cache_dir=str(out / "cache")
    )
    labels = sorted(raw["train"].unique("label"))
    config = AutoConfig.from_pretrained(
        args.model_name_or_path, num_labels=len(labels), trust_remote_code=False
    )
    config.label2id = {str(label): i for i, label in enumerate(labels)}
    config.id2label = {i: str(label) for i, label in enumerate(labels)}
    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path, trust_remote_code=False)
    safe = {"trust_remote_code": False, "use_safetensors": True}
    model = AutoModelForSequenceClassification.from_pretrained(args.model_name_or_path, config=config, **safe)

    def preprocess(examples: dict[str, list[Any]]) -> Any:
        padding = "max_length" if args.pad_to_max_length else False
        result = tokenizer(examples["text"], padding=padding, max_length=args.max_seq_length, truncation=True)
        result["labels"] = [config.label2id[str(label)] for label in examples["label"]]
        return result

    tokens = raw.map(preprocess, batched=True, remove_columns=["text", "label"])
    stopwatch = Stopwatch()
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=tokens["train"],
        compute_metrics=accuracy,
        processing_class=tokenizer,
        # None: pad to the longest of the batch
        data_collator=default_data_collator if args.pad_to_max_length else None,
        callbacks=[stopwatch],
    )
    trainer.train()
    results: dict[str, Any] = {"seconds": stopwatch.seconds, "steps": stopwatch.steps}
    if training.do_predict:
        results["accuracy"] = trainer.predict(tokens["test"]).metrics["test_accuracy"]
    (out / "all_results.json").write_text(json.dumps(results), "utf-8")


if __name__ == "__main__":
    main()
