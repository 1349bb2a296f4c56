"""A plain script for answers to prompts, after TRL's trl/scripts/sft.py: loss on the answer alone.

TRL is needed: `pip install trl==1.16.0`. Its defaults recompute activations and take bf16: neither here,
which is faster on a CPU and what we do. Added is benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, HfArgumentParser, set_seed
from trl import SFTConfig, SFTTrainer

from benchmarks.stopwatch import Stopwatch


@dataclass
class Arguments:
    """What is not an SFTConfig field, named as in the original."""

    model_name_or_path: str
    train_file: str


def main() -> None:
    args, training = HfArgumentParser((Arguments, SFTConfig)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    rows = load_dataset("json", data_files={"train": args.train_file}, cache_dir=str(out / "cache"))["train"]
    safe = {"trust_remote_code": False}
    stopwatch = Stopwatch()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            args.model_name_or_path, dtype="float32", use_safetensors=True, **safe
        ),
        args=training,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(args.model_name_or_path, **safe),
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


if __name__ == "__main__":
    main()
