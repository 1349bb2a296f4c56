"""What can be chosen where a param is a choice; params.py says what each is for."""

from typing import Literal

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "arrow"]
Quoting = Literal["auto", "quoted", "unquoted"]
SplitMethod = Literal["stable", "stratified", "by_time", "by_group", "by_position", "predefined"]
# of the forward and backward pass; weights stay fp32
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Interval = Literal["epoch", "steps"]
# how several processes train one model: each with all weights, or with a shard of them
Strategy = Literal["ddp", "fsdp"]
# as transformers names what computes attention
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
# of `transformers.training_args.OptimizerNames` those that PyTorch and transformers bring, whose versions are
# pinned: the others are computed by packages that no pin names
Optimizer = Literal["adamw_torch_fused", "adamw_torch", "adafactor", "adagrad", "rmsprop", "sgd"]
# as in `transformers.SchedulerType`
Scheduler = Literal[
    "linear",
    "cosine",
    "constant",
    "constant_with_warmup",
    "polynomial",
    "inverse_sqrt",
    "cosine_with_min_lr",
]
Sampling = Literal["group_by_length", "random"]
# the first four are learned; bytes and code points are there already
TokenizerKind = Literal["bpe", "wordpiece", "unigram", "character", "byte", "code_point"]
# what computes the shards of stages
EngineName = Literal["local", "ray"]
# a module of flows/trackers/, an extra of pyproject.toml and a distribution each
Tracker = Literal["tensorboard", "mlflow", "wandb", "trackio"]
# a model takes the place of the one in production
When = Literal["never", "better", "better_or_equivalent", "ask"]

# How many microseconds one of them is: what split.time_format may say instead of strftime's directives.
EPOCHS = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000}
