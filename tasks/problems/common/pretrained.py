"""A base model's tokenizer and weights as `transformers` loads them, or one sentence why it cannot be used.

The one place that loads what others wrote: never their code, never a pickle, never anything from elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.foreign_code import refuse_code

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# their first token stands at position pad_token_id + 1: they read fewer tokens than they have positions
OFFSET = frozenset(
    {
        "camembert",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# nobody has more; what is built of such a number takes for ever, or all the memory there is
LAYERS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers", "n_layer", "n_layers")
MOST = {"num_labels": 1_000_000} | dict.fromkeys(LAYERS, 10_000)
SQUARES = ("hidden_size", "d_model", "n_embd")
SMALL = 10**8
# left out, the second has transformers ask on the terminal whether to run a model's own code
HERE = {"local_files_only": True, "trust_remote_code": False}
# each holds all that a tokenizer needs
WHOLE = ("tokenizer.json", "tekken.json", "tokenizer.model", "tiktoken.model")
# how much of the distance between two rows' answers padding may change: rounding changes far less
SAME_ANSWER = 0.01
ROUNDING = 1e-4


def tokenizer(folder: Path, max_length: int) -> "PreTrainedTokenizerBase":
    """Load a base model's tokenizer; it cuts at the least of `max_length`, its own limit and the model's positions.

    One that has no padding token pads by the one that config.json names, or by its end token. Raises InputError when there is none, or no vocabulary,
    or one that is not the model's.
    """
    from transformers import AutoTokenizer

    settings = config(folder)
    # a decoder's head reads the end token, so a text that spells it must not make another
    names = {"split_special_tokens": True} if settings.is_encoder_decoder else {}
    try:
        made = AutoTokenizer.from_pretrained(folder, **HERE, **names)
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: the tokenizer in {folder} cannot be loaded: {_brief(error)}") from None
    missing = _missing_vocabulary(made, folder)
    if missing:
        wanted = f"no vocabulary for its {type(made).__name__}: neither tokenizer.json nor {missing}"
        raise InputError(f"model.name: {folder} has {wanted}; save the tokenizer beside the model")
    known = getattr(settings.get_text_config(), "vocab_size", None) or len(made)
    if made.vocab_size > known:
        sizes = f"the tokenizer in {folder} has {made.vocab_size} tokens and the model {known}"
        raise InputError(f"model.name: {sizes}; they do not belong together")
    # a padding token that was added to the tokenizer alone has no row in the model's embedding
    if made.pad_token is None or made.pad_token_id >= known:
        padding = getattr(settings.get_text_config(), "pad_token_id", None)
        in_config = padding is not None and 0 <= padding < made.vocab_size
        made.pad_token = made.convert_ids_to_tokens(padding) if in_config else made.eos_token
        made.padding_side = "right"
        if made.pad_token is None:
            neither = f"the tokenizer in {folder} has neither a padding token nor an end token to pad by"
            raise InputError(f"model.name: {neither}; name another model")
    limit = made.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 1:
        said = f"model_max_length in the tokenizer_config.json of {folder} is {limit!r}"
        raise InputError(f"model.name: {said}, not how many tokens it reads; mend or remove it")
    made.model_max_length = int(min(max_length, limit, _positions(settings) or max_length))
    return made


def saved_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load a tokenizer as it was saved, beside a model or alone."""
    from transformers import AutoTokenizer

    refuse_code(folder)
    return AutoTokenizer.from_pretrained(folder, **HERE)


def _missing_vocabulary(made: "PreTrainedTokenizerBase", folder: Path) -> str:
    """Return the files that a tokenizer lacks; empty when it lacks none, or needs none because it reads bytes."""
    names = type(made).vocab_files_names
    if not names or any((folder / name).exists() for name in WHOLE):
        return ""
    kinds = {"vocab_file", "merges_file"} & names.keys() or names.keys()
    return " and ".join(sorted(names[kind] for kind in kinds if not (folder / names[kind]).exists()))


def config(folder: Path) -> "PreTrainedConfig":
    """Load a model's config; raise InputError for a kind of model that transformers does not know."""
    from transformers import AutoConfig

    refuse_code(folder)
    _refuse_giants(folder)
    try:
        return AutoConfig.from_pretrained(folder, **HERE)
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: config.json in {folder} cannot be loaded: {_brief(error)}") from None


def _refuse_giants(folder: Path) -> None:
    """Raise InputError where config.json asks for far more than the weights can hold: it would be built before that shows."""
    try:
        settings = read_json(folder / "config.json")
        numbers = {name: value for name, value in settings.items() if isinstance(value, int)}
    except (OSError, ValueError, AttributeError, RecursionError):
        # transformers says what is wrong with it
        return
    # a weight takes half a byte at least, and there are weights of each of these squares; small ones harm nobody
    weights = max(SMALL, 2 * sum(file.stat().st_size for file in folder.glob("*.safetensors")))
    for name, value in numbers.items():
        if value > MOST.get(name, value) or (name in SQUARES and value**2 > weights):
            said = f"config.json in {folder} says {name} {str(value)[:20]}, far more than its weights can be"
            raise InputError(f"model.name: {said}; mend it, or save or download the model anew")


def _positions(settings: "PreTrainedConfig") -> int | None:
    """Return how many tokens a model has positions for; None when its config sets no limit."""
    text = settings.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    return positions - text.pad_token_id - 1 if text.model_type in OFFSET else positions


def classifier(folder: Path, labels: Sequence[str]) -> "tuple[PreTrainedModel, list[str]]":
    """Load a sequence classifier in fp32; weights that the folder lacks are drawn from the current torch seed.

    Returns the model, and a sentence where it starts from anything but the base and a fresh head. Raises InputError
    when transformers has no such head for this model, or the folder does not hold its weights.
    """
    from transformers import AutoModelForSequenceClassification

    refuse_code(folder)
    try:
        made, how = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type="single_label_classification",
            dtype="float32",
            **HERE,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        where = f"the model in {folder} cannot be loaded for classification"
        raise InputError(f"model.name: {where}: {_brief(error)}") from None
    said = _drawn(made, how, folder, len(labels))
    its = list(config(folder).id2label.values())
    is_whole = not how["mismatched_keys"] and not how["missing_keys"]
    if is_whole and its != list(labels):
        said.append(f"the head starts from the base model's, which was trained for other labels: {', '.join(its[:5])}")
    return made, said


def _drawn(made: "PreTrainedModel", how: Mapping[str, Any], folder: Path, num_labels: int) -> list[str]:
    """Say what was drawn beside a missing head; raise InputError when it is more than a head and a few weights."""
    body = f"{made.base_model_prefix}."
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
        sizes = f"{name} of the base model is {shapes[0]}, and {num_labels} labels need {shapes[1]}"
        said.append(f"a new head: {sizes}")
    if lacking:
        number = f"{len(lacking)} weights, which start at random"
        said.append(f"the base model lacks {number}: {', '.join(lacking)}")
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


def try_out(
    model: "PreTrainedModel",
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
    rows: list[dict[str, Any]],
) -> None:
    """Raise InputError unless a model, dropout off, answers two rows of unlike length together as each alone."""
    import torch

    kind, training = f"a {model.config.model_type} model", model.training

    def answer(some: list[dict[str, Any]]) -> torch.Tensor:
        given = {name: values.to(model.device) for name, values in collate(some).items()}
        logits: torch.Tensor = model(**given).logits
        return logits.float()

    model.eval()
    try:
        with torch.no_grad():
            together, alone = answer(rows), torch.cat([answer([row]) for row in rows])
    except Exception as error:  # noqa: BLE001 - whatever a model raises that wants other inputs
        raise InputError(f"model.name: {kind} cannot be fine-tuned on these rows: {_brief(error)}") from None
    finally:
        model.train(training)
    if together.shape != (len(rows), model.config.num_labels):
        shape = tuple(together.shape)
        raise InputError(f"model.name: {kind} answers with {shape} numbers, not with one per row and label; name another")
    if not together.isfinite().all():
        raise InputError("model.name: before any training the model answers with NaN or infinity; name a sound one")
    apart = (alone - alone.flip(0)).abs().max()
    if (together - alone).abs().max() > SAME_ANSWER * apart + ROUNDING * alone.abs().max():
        raise InputError(
            f"model.name: {kind} with this tokenizer answers a padded row otherwise than the row alone, "
            "so what a package says would depend on what it is asked beside; name another model"
        )


def _brief(error: Exception) -> str:
    """Return an error's kind and first line."""
    said = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no more is known'])[0][:300]}"
    return f"{said}; save or download it anew, or name another model"
