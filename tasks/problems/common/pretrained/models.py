"""A model with a head, of a base's weights or drawn; what is not the base's is said."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.problems.common.pretrained.configs import HERE, config, is_from_scratch
from tasks.problems.common.pretrained.errors import in_words
from tasks.problems.common.pretrained.processors import end
from tasks.problems.common.pretrained.scratch import ANSWERS, built, from_scratch, refuse_unbuildable
from tasks.shared.errors import InputError
from tasks.shared.foreign_code import refuse_code

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# bytes; as torch allocates on a CPU (c10/core/alignment.h)
ALIGNMENT = 64
# heads that a base model is expected to have
LANGUAGE = ("ForMaskedLM", "ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def classifier(
    base: Path,
    processor: "PreTrainedTokenizerBase | None",
    labels: Sequence[str],
    problem_type: str | None = "single_label_classification",
    head: str = "AutoModelForSequenceClassification",
    **settings: Any,
) -> "tuple[PreTrainedModel, list[str]]":
    """Load a model whose head has an answer per label, of rows or of tokens; see `model`.

    problem_type: as in `transformers.PreTrainedConfig`; it decides the loss. settings: others of its config.
    """
    made, said, is_whole = _model(
        head,
        base,
        processor,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type=problem_type,
        **settings,
    )
    its = list(config(base).id2label.values()) if is_whole else list(labels)
    if its != list(labels):
        said.append(
            f"the head starts from the base model's, which was trained for other labels: {', '.join(its[:5])}"
        )
    return made, said


def model(
    head: str,
    base: Path,
    processor: "PreTrainedTokenizerBase | None",
    **settings: Any,
) -> "tuple[PreTrainedModel, list[str]]":
    """Load a model with a head in fp32, such as AutoModelForMaskedLM, or build it if the base has no weights.

    Weights that the folder lacks are drawn from the current torch seed; its embedding grows where the
    tokenizer has more tokens. Its config names the tokenizer's special tokens (`fit`). processor: the
    tokenizer; None of a model that reads no text.

    settings: of its config. Returns the model, and a sentence where it starts from anything but the base and
    a fresh head. Raises InputError when transformers has no such head for this model, or the folder does not
    hold its weights.
    """
    made, said, _ = _model(head, base, processor, **settings)
    return made, said


def _model(
    head: str,
    base: Path,
    processor: "PreTrainedTokenizerBase | None",
    **settings: Any,
) -> "tuple[PreTrainedModel, list[str], bool]":
    """Return a model as `model` does, and whether the folder held all of its weights, the head's too."""
    import transformers

    refuse_code(base)
    if is_from_scratch(base):
        wanted = from_scratch(base, processor, **settings)
        refuse_unbuildable(wanted, head)
        made = built(head, wanted)
        if processor is not None:
            fit(made, processor)
        return made, [], False
    with in_words(f"model.name: the model in {base} cannot be loaded for {ANSWERS.get(head, head)}"):
        made, how = getattr(transformers, head).from_pretrained(
            base,
            **settings,
            dtype="float32",
            **HERE,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _align(made)
    said = _drawn(made, how, base)
    if processor is not None:
        said += grow(made, processor)
        fit(made, processor)
    return made, said, not how["mismatched_keys"] and not how["missing_keys"]


def encoder_decoder(base: Path, processor: "PreTrainedTokenizerBase") -> "tuple[PreTrainedModel, list[str]]":
    """Make an encoder-decoder of two copies of an encoder in fp32 (Rothe et al. 2020, arXiv 1907.12461).

    How the second reads the first is drawn from the current torch seed. Raises InputError when that cannot be
    made.
    """
    from transformers import EncoderDecoderModel

    refuse_code(base)
    how: dict[str, Any] = {}
    for name, value in {**HERE, "dtype": "float32", "use_safetensors": True}.items():
        how |= {f"encoder_{name}": value, f"decoder_{name}": value}
    with in_words(f"model.name: no encoder-decoder can be made of {base}"):
        made = EncoderDecoderModel.from_encoder_decoder_pretrained(base, base, **how)
    starts = (processor.cls_token_id, processor.bos_token_id, processor.pad_token_id)
    _align(made)
    made.config.decoder_start_token_id = next(token for token in starts if token is not None)
    made.config.eos_token_id = end(processor)
    made.config.pad_token_id = processor.pad_token_id
    return made, ["an encoder-decoder of two copies of the base model: what joins them starts at random"]


def _align(model: "PreTrainedModel") -> None:
    """Move weights to where torch itself would have them lie.

    Loaded ones lie in the mapped file, as far off as its header is long, and a layer of one output sums in
    another order there: the same model would answer in other bits from another file, or from a pickle.
    """
    for weight in (*model.parameters(), *model.buffers()):
        if weight.data_ptr() % ALIGNMENT:
            weight.data = weight.data.clone()


def grow(model: "PreTrainedModel", processor: "PreTrainedTokenizerBase") -> list[str]:
    """Give a model's embedding a row for each token that its tokenizer has beyond it, and say so.

    They start as the mean of the others, blurred as those are spread (Hewitt 2021), drawn from torch's seed.
    """
    rows = getattr(model.config.get_text_config(), "vocab_size", None)
    # one that reads code points has no row per token
    if not isinstance(rows, int) or len(processor) <= rows:
        return []
    model.resize_token_embeddings(len(processor))
    return [f"the embedding grew from {rows} to {len(processor)} tokens, because the tokenizer has more"]


def _drawn(made: "PreTrainedModel", how: Mapping[str, Any], folder: Path) -> list[str]:
    """Say what was drawn beside a missing head.

    Raises InputError when it is more than a head and a few weights.
    """
    # a model without a head is all body; Whisper's classifier is an encoder beside a head, and no base model
    whole = "encoder." if hasattr(made, "classifier") else ""
    body = whole if made.base_model is made else f"{made.base_model_prefix}."
    odd = sorted(how["mismatched_keys"])
    of_body = [name for name, *_ in odd if name.startswith(body)]
    if of_body:
        size = f"in {folder} the size of {of_body[0]} is not what config.json says"
        raise InputError(f"model.name: {size}; save the model anew")
    lacking = sorted(name for name in how["missing_keys"] if name.startswith(body))
    if 2 * len(lacking) > sum(name.startswith(body) for name in made.state_dict()):
        kind = f"a {made.config.model_type} model"
        raise InputError(f"model.name: {folder} lacks most weights of {kind}; save the model anew")
    said = []
    if odd:
        name, its, ours = odd[-1]
        shapes = [" x ".join(map(str, shape)) for shape in (its, ours)]
        labels = f"{made.config.num_labels} labels"
        said.append(f"a new head: {name} of the base model is {shapes[0]}, and {labels} need {shapes[1]}")
    if lacking:
        number = f"{len(lacking)} weights, which start at random"
        said.append(f"the base model lacks {number}: {', '.join(lacking)}")
    of_head = sorted(name for name in how["missing_keys"] if not name.startswith(body))
    if of_head and type(made).__name__.endswith(LANGUAGE):
        said.append(
            f"the base model has no such head: {len(of_head)} weights start at random, "
            f"{of_head[0]} among them"
        )
    return said


def fit(model: "PreTrainedModel", processor: "PreTrainedTokenizerBase") -> None:
    """Have a model's config name the padding token and what a decoder starts with, where it names none.

    XLNet's is told not to answer with its memory, which the pipeline cannot take apart into rows.
    """
    for settings in (model.config, model.config.get_text_config()):
        known = getattr(settings, "pad_token_id", None)
        if known is None or known < 0:
            settings.pad_token_id = processor.pad_token_id
    if model.config.is_encoder_decoder and getattr(model.config, "decoder_start_token_id", None) is None:
        model.config.decoder_start_token_id = model.config.pad_token_id
    if hasattr(model.config, "use_mems_eval"):
        model.config.use_mems_eval = False
