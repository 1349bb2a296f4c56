"""A base model's tokenizer and weights as `transformers` loads them, and one sentence where they cannot be fine-tuned."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# their first token stands at position pad_token_id + 1, so that they read fewer tokens than they have positions
OFFSET = frozenset({"camembert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"})
WHOLE = ("tokenizer.json", "tekken.json", "tokenizer.model", "tiktoken.model")  # each holds all that a tokenizer needs
SAME_ANSWER = 0.01  # of how far two rows' answers lie apart: rounding is far below it, a padding that is read far above


def tokenizer(folder: Path, max_length: int) -> "PreTrainedTokenizerBase":
    """Load a base model's tokenizer; it pads, and cuts at what is smallest: `max_length`, its own limit, the model's positions.

    Raises InputError when its files are missing, or when it has nothing to pad with.
    """
    from transformers import AutoTokenizer

    settings = config(folder)
    try:
        # a decoder's head reads the end token, so a text that spells it must not make another
        names = {"split_special_tokens": True} if settings.is_encoder_decoder else {}
        made = AutoTokenizer.from_pretrained(folder, local_files_only=True, **names)
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: the tokenizer in {folder} cannot be loaded: {_first_line(error)}") from None
    missing = _missing_vocabulary(made, folder)
    if missing:
        raise InputError(
            f"model.name: {folder} has no vocabulary for its {type(made).__name__}: neither tokenizer.json nor {missing}; "
            "save the tokenizer beside the model"
        )
    vocabulary = getattr(settings.get_text_config(), "vocab_size", None) or len(made)
    if made.vocab_size > vocabulary:
        raise InputError(
            f"model.name: the tokenizer in {folder} has {made.vocab_size} tokens and the model {vocabulary}; they do not belong together"
        )
    # one that was added to the tokenizer alone has no row in the model's embedding
    if made.pad_token is None or made.pad_token_id >= vocabulary:
        if made.eos_token is None:
            raise InputError(f"model.name: the tokenizer in {folder} has neither a padding token nor an end token to pad by")
        made.pad_token = made.eos_token
        made.padding_side = "right"
    made.model_max_length = min(max_length, made.model_max_length, _positions(settings) or max_length)
    return made


def _missing_vocabulary(made: "PreTrainedTokenizerBase", folder: Path) -> str:
    """Return the files of which a tokenizer needs some and has none; empty when it has, or needs none (bytes, code points)."""
    names = type(made).vocab_files_names
    if not names or any((folder / name).exists() for name in WHOLE):
        return ""
    needed = {name for kind, name in names.items() if kind in ("vocab_file", "merges_file")} or set(names.values())
    return " and ".join(sorted(name for name in needed if not (folder / name).exists()))


def config(folder: Path) -> "PreTrainedConfig":
    """Load a model's config; raise InputError for a kind of model that transformers does not know."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: config.json in {folder} cannot be loaded: {_first_line(error)}") from None


def _positions(settings: "PreTrainedConfig") -> int | None:
    """Return how many tokens a model has positions for; None when its config sets no limit."""
    text = settings.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    return positions - text.pad_token_id - 1 if text.model_type in OFFSET else positions


def classifier(folder: Path, labels: Sequence[str]) -> "tuple[PreTrainedModel, list[str]]":
    """Load `AutoModelForSequenceClassification` in fp32; weights that the folder lacks are drawn from the current torch seed.

    Returns the model, and a sentence where that is more than a head for a model that had none. Raises InputError when transformers has no
    such head for this model, or the folder holds the weights of another.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        made, how = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            problem_type="single_label_classification",
            dtype="float32",
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: the model in {folder} cannot be loaded for classification: {_first_line(error)}") from None
    body = f"{made.base_model_prefix}."
    odd = sorted(name for name, *_ in how["mismatched_keys"] if name.startswith(body))
    if odd:
        raise InputError(f"model.name: in {folder} the size of {odd[0]} is not what config.json says; save the model anew")
    lacking = {name for name in how["missing_keys"] if name.startswith(body)}
    if 2 * len(lacking) > sum(name.startswith(body) for name in made.state_dict()):
        raise InputError(f"model.name: {folder} lacks most weights of a {made.config.model_type} model; save the model anew")
    said = [
        f"a new head: {name} in the base model has the shape {'x'.join(map(str, its))}, and {'x'.join(map(str, ours))} is needed "
        f"for {len(labels)} labels"
        for name, its, ours in sorted(how["mismatched_keys"])[-1:]
    ]
    if lacking:
        said.append(f"the base model lacks {len(lacking)} weights, which start at random: {', '.join(sorted(lacking))}")
    return made, said


def fit(model: "PreTrainedModel", processor: "PreTrainedTokenizerBase") -> None:
    """Have a model's config name the padding token and what a decoder starts with, where it names none.

    XLNet's is told not to answer with its memory, which the pipeline cannot take apart into rows.
    """
    for settings in {id(each): each for each in (model.config, model.config.get_text_config())}.values():
        known = getattr(settings, "pad_token_id", None)
        if known is None or known < 0:
            settings.pad_token_id = processor.pad_token_id
    if model.config.is_encoder_decoder and getattr(model.config, "decoder_start_token_id", None) is None:
        model.config.decoder_start_token_id = model.config.pad_token_id
    if hasattr(model.config, "use_mems_eval"):
        model.config.use_mems_eval = False


def try_out(model: "PreTrainedModel", collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Raise InputError unless a model answers two rows of unlike length together as it answers each alone, dropout off."""
    import torch

    training = model.training
    try:
        with torch.no_grad():
            answers = [
                model.eval()(**{name: values.to(model.device) for name, values in collate(some).items()}).logits.float()
                for some in (rows, rows[:1], rows[1:])
            ]
    except Exception as error:  # noqa: BLE001 - whatever a model raises that wants other inputs
        raise InputError(f"model.name: a {model.config.model_type} model cannot be fine-tuned on these rows: {_first_line(error)}") from None
    finally:
        model.train(training)
    together, alone = answers[0], torch.cat(answers[1:])
    if not torch.isfinite(together).all():
        raise InputError("model.name: the model answers with NaN or infinity before any training; its weights are not sound")
    if together.shape != (len(rows), model.config.num_labels):
        raise InputError(f"model.name: a {model.config.model_type} model answers with {tuple(together.shape)} numbers instead of one per label")
    apart = (alone - alone.flip(0)).abs().max()
    if (together - alone).abs().max() > SAME_ANSWER * apart + 1e-4 * alone.abs().max():
        raise InputError(
            f"model.name: a {model.config.model_type} model with this tokenizer answers a padded row otherwise than the row alone, "
            "so nobody could tell what a package says; name another model"
        )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__
