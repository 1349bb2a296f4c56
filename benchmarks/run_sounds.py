"""A plain script for sounds, after transformers' examples for audio classification and for CTC.

The same flags and defaults as run_audio_classification.py and run_speech_recognition_ctc.py, Trainer. These
read files with torchcodec; here soundfile and soxr do, and features are made before, by `dataset.map`, as the
second one does. Nothing is masked. Added is benchmarks/stopwatch.py.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import soxr
import torch
import transformers
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    Wav2Vec2CTCTokenizer,
    set_seed,
)

from benchmarks.stopwatch import Stopwatch


@dataclass
class Arguments:
    """What is not a TrainingArguments field, named as in the originals."""

    config_name: str
    train_file: str


def main() -> None:
    args, training = HfArgumentParser((Arguments, TrainingArguments)).parse_args_into_dataclasses()
    out = Path(training.output_dir)
    set_seed(training.seed)
    raw = load_dataset("json", data_files={"train": args.train_file}, cache_dir=str(out / "cache"))["train"]
    config = AutoConfig.from_pretrained(args.config_name)
    extractor = AutoFeatureExtractor.from_pretrained(args.config_name)
    (name,) = config.architectures
    ids = {label: int(number) for number, label in config.id2label.items()}
    is_ctc = name.endswith("ForCTC")
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(args.config_name) if is_ctc else None

    def prepare(row: dict[str, Any]) -> dict[str, Any]:
        sound, rate = soundfile.read(row["audio"], dtype="float32")
        heard = soxr.resample(sound, rate, extractor.sampling_rate)
        found = extractor(heard, sampling_rate=extractor.sampling_rate).input_features[0]
        labels = tokenizer(row["text"]).input_ids if tokenizer else ids[row["label"]]
        return {"input_features": found, "labels": labels, "length": len(found)}

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = extractor.pad(
            [{"input_features": row["input_features"]} for row in rows], return_tensors="pt"
        )
        if tokenizer is None:
            return {**batch, "labels": torch.tensor([int(row["labels"]) for row in rows])}
        some = [torch.as_tensor(row["labels"]) for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=-100)
        return {**batch, "labels": padded}

    stopwatch = Stopwatch()
    trainer = Trainer(
        model=getattr(transformers, name)(config),
        args=training,
        train_dataset=raw.map(prepare, remove_columns=raw.column_names).with_format("numpy"),
        processing_class=extractor,
        data_collator=collate,
        callbacks=[stopwatch],
    )
    trainer.train()
    (out / "all_results.json").write_text(
        json.dumps({"seconds": stopwatch.seconds, "steps": stopwatch.steps}), "utf-8"
    )


if __name__ == "__main__":
    main()
