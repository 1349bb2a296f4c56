"""The section `train` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from tasks.shared.extra import Extra, arguments, known
from tasks.shared.section import Section

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
