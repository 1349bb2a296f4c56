"""What can be chosen where a param is a choice; params.py says what each is for."""

from enum import StrEnum


class Format(StrEnum):
    """How the raw files are written; `auto` goes by the file name's ending."""

    auto = "auto"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    json = "json"
    parquet = "parquet"
    arrow = "arrow"


class Quoting(StrEnum):
    """Whether quotes stand around fields of CSV and TSV or are part of the text; `auto` goes by what the lines say."""

    auto = "auto"
    quoted = "quoted"
    unquoted = "unquoted"


class SplitMethod(StrEnum):
    """How rows are given to train, validation and test."""

    stable = "stable"
    stratified = "stratified"
    by_time = "by_time"
    by_group = "by_group"
    predefined = "predefined"


class Precision(StrEnum):
    """The number format of the forward and backward pass; weights stay fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Interval(StrEnum):
    """How often to evaluate and save."""

    epoch = "epoch"
    steps = "steps"


class Scheduler(StrEnum):
    """The learning rate schedule after warm-up, as in `transformers.SchedulerType`."""

    linear = "linear"
    cosine = "cosine"
    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    polynomial = "polynomial"
    inverse_sqrt = "inverse_sqrt"
    cosine_with_min_lr = "cosine_with_min_lr"


class Sampling(StrEnum):
    """The order of training rows: similar lengths together (little padding), or fully random."""

    group_by_length = "group_by_length"
    random = "random"


# How many microseconds one of them is: what split.time_format may say instead of strftime's directives.
EPOCHS = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000}
