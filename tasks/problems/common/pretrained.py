"""A base model's tokenizer and weights as `transformers` loads them, or one sentence why it cannot be used.

The one place that loads what others wrote: never their code, never a pickle, never anything from elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.problems.common import vocabulary
from tasks.problems.common.vocabulary import Texts
from tasks.shared import devices
from tasks.shared.base_models import FROM_SCRATCH
from tasks.shared.errors import InputError, first_line
from tasks.shared.files import read_json
from tasks.shared.foreign_code import refuse_code
from tasks.shared.params import Tokenize

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# their first token stands at position pad_token_id + 1: they read fewer tokens than they have positions
OFFSET = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# nobody has more; what is built of such a number takes for ever, or all the memory there is
LAYERS = (
    "num_hidden_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
    "n_layer",
    "n_layers",
)
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
# a row of fewer tokens says nothing
FEWEST = 4
MOST_LETTERS = 300  # of what an error says
SHOWN = 100  # texts, and letters of each, by which a tokenizer is compared
# bytes; as torch allocates on a CPU (c10/core/alignment.h)
ALIGNMENT = 64
# what a head answers
ANSWERS = {
    "AutoModel": "embeddings",
    "AutoModelForAudioClassification": "audio classification",
    "AutoModelForCTC": "speech recognition",
    "AutoModelForCausalLM": "text generation",
    "AutoModelForImageClassification": "image classification",
    "AutoModelForMaskedLM": "masked tokens",
    "AutoModelForQuestionAnswering": "question answering",
    "AutoModelForSeq2SeqLM": "text-to-text generation",
    "AutoModelForSequenceClassification": "classification",
    "AutoModelForSpeechSeq2Seq": "speech recognition",
    "AutoModelForTokenClassification": "token classification",
    "AutoModelForVisualQuestionAnswering": "visual question answering",
}
# heads that a base model is expected to have
LANGUAGE = ("ForMaskedLM", "ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def is_from_scratch(folder: Path) -> bool:
    """Return whether a base has no weights: they are all drawn, of the sizes in its config.json."""
    return (folder / FROM_SCRATCH).exists()


def processor(base: Path, params: Tokenize, head: str, texts: Texts) -> "PreTrainedTokenizerBase":
    """Return the base model's tokenizer, or one learned from texts, which are batches of the train split's.

    head: the Auto class of the problem's model. Raises InputError when a model from scratch cannot be built
    of the sizes that it is given.
    """
    if is_from_scratch(base):
        refuse_unbuildable(config(base), head)
    if params.train.kind is None:
        made = tokenizer(base, params.max_length)
        if params.special_tokens:
            vocabulary.add(made, params.special_tokens)
        return made
    settings = config(base)
    # of a tokenizer that is learned, the padding token is one of the first
    learned = vocabulary.learn(params, settings.model_type, texts, positions(settings, 1))
    _refuse_another(learned, settings, next(iter(texts())))
    return learned


def _refuse_another(
    learned: "PreTrainedTokenizerBase", settings: "PreTrainedConfig", texts: Sequence[str]
) -> None:
    """Raise InputError unless AutoTokenizer, which goes by the model type too, loads a tokenizer as it is."""
    from transformers import AutoTokenizer

    some = [text[:SHOWN] for text in texts[:SHOWN]]
    with TemporaryDirectory(prefix="retrain-tokenizer-") as folder:
        settings.save_pretrained(folder)
        learned.save_pretrained(folder)
        try:
            loaded = AutoTokenizer.from_pretrained(folder, **HERE)
        except Exception:  # noqa: BLE001 - whatever it raises of files that another class reads
            loaded = None
    if loaded is None or loaded(some)["input_ids"] != learned(some)["input_ids"]:
        kind = f"transformers loads no {type(learned).__name__} beside a {settings.model_type} model"
        raise InputError(f"tokenize.train.kind: {kind}; set another kind, such as bpe or unigram")


def tokenizer(folder: Path, max_length: int) -> "PreTrainedTokenizerBase":
    """Load a base model's tokenizer.

    It cuts at the least of `max_length`, its own limit and the model's positions. One that has no padding
    token pads by the one that config.json names, or by its end token. Raises InputError when there is none,
    or no vocabulary, or one that is not the model's.
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
    if is_from_scratch(folder):
        # as many as it needs, and its config.json has no say
        known = len(made)
    if made.vocab_size > known:
        sizes = f"the tokenizer in {folder} has {made.vocab_size} tokens and the model {known}"
        raise InputError(f"model.name: {sizes}; they do not belong together")
    # a padding token that was added to the tokenizer alone has no row in the model's embedding
    if made.pad_token is None or made.pad_token_id >= known:
        padding = getattr(settings.get_text_config(), "pad_token_id", None)
        # a config from scratch names no token of this tokenizer
        in_config = padding is not None and 0 <= padding < made.vocab_size and not is_from_scratch(folder)
        made.pad_token = made.convert_ids_to_tokens(padding) if in_config else made.eos_token
        made.padding_side = "right"
        if made.pad_token is None:
            neither = f"the tokenizer in {folder} has neither a padding token nor an end token to pad by"
            raise InputError(f"model.name: {neither}; name another model")
    limit = made.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 1:
        said = f"model_max_length in the tokenizer_config.json of {folder} is {limit!r}"
        raise InputError(f"model.name: {said}, not how many tokens it reads; mend or remove it")
    padding = made.pad_token_id if is_from_scratch(folder) else None
    made.model_max_length = int(min(max_length, limit, positions(settings, padding) or max_length))
    return made


def saved_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load a tokenizer as it was saved, beside a model or alone."""
    from transformers import AutoTokenizer

    refuse_code(folder)
    return AutoTokenizer.from_pretrained(folder, **HERE)


def end(processor: "PreTrainedTokenizerBase") -> int | None:
    """Return the token that ends a text; None where the tokenizer has none."""
    # BERT's have no end but [SEP], and BigBird's end by that although they have another one
    ends: tuple[int | None, ...] = (processor.eos_token_id, processor.sep_token_id)
    last = processor("a")["input_ids"][-1:]
    if last and last[0] in ends:
        return int(last[0])
    return next((token for token in ends if token is not None), None)


def image_processor(folder: Path) -> "BaseImageProcessor":
    """Load what makes pictures into pixels, of a base or as saved; raise InputError where there is none."""
    from transformers import AutoImageProcessor

    return _preprocessor(AutoImageProcessor, folder, "image processor", backend="pil")


def feature_extractor(folder: Path) -> Any:
    """Load what makes sounds into features, of a base or as saved; raise InputError where there is none."""
    from transformers import AutoFeatureExtractor

    return _preprocessor(AutoFeatureExtractor, folder, "feature extractor")


def characters(folder: Path) -> Any:
    """Load a CTC model's tokenizer of characters, of a base model or as it was saved."""
    from transformers import Wav2Vec2CTCTokenizer

    return _preprocessor(Wav2Vec2CTCTokenizer, folder, "tokenizer of characters")


def _preprocessor(auto: Any, folder: Path, what: str, **how: Any) -> Any:
    refuse_code(folder)
    try:
        return auto.from_pretrained(folder, **HERE, **how)
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: {folder} has no {what} that can be loaded: {_brief(error)}") from None


def _missing_vocabulary(made: "PreTrainedTokenizerBase", folder: Path) -> str:
    """Return the files that a tokenizer lacks; empty when it lacks none, or reads bytes and needs none."""
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
    """Raise InputError where config.json asks for more than the weights can be: it would be built first."""
    try:
        settings = read_json(folder / "config.json")
        numbers = {name: value for name, value in settings.items() if isinstance(value, int)}
    except (OSError, ValueError, AttributeError, RecursionError):
        # transformers says what is wrong with it
        return
    drawn = is_from_scratch(folder)
    # a weight takes half a byte at least, and there are weights of each of these squares; small ones harm
    # nobody; what is drawn is measured before
    weights = max(SMALL, 2 * sum(file.stat().st_size for file in folder.glob("*.safetensors")))
    for name, value in numbers.items():
        too_many = value > MOST.get(name, value)
        if too_many and drawn:
            said = f"{name} {str(value)[:20]} is far more than any model has"
            raise InputError(f"model.from_scratch: {said}; give a smaller one")
        if too_many or (name in SQUARES and value**2 > weights and not drawn):
            said = f"config.json in {folder} says {name} {str(value)[:20]}, far more than its weights can be"
            raise InputError(f"model.name: {said}; mend it, or save or download the model anew")


def positions(settings: "PreTrainedConfig", padding: int | None = None) -> int | None:
    """Return how many tokens a model has positions for; None when its config sets no limit.

    padding: the padding token, where it is not the one that the config names.
    """
    text = settings.get_text_config()
    known = getattr(text, "max_position_embeddings", None)
    if not isinstance(known, int) or known <= 0:
        return None
    # an ESM that turns its tokens by their places has no row for each
    has_rows = getattr(text, "position_embedding_type", "absolute") == "absolute"
    if text.model_type not in OFFSET or not has_rows:
        return known
    padding = text.pad_token_id if padding is None else padding
    if known - padding - 1 < FEWEST:
        first = f"a {text.model_type} counts positions from its padding token, which is number {padding}"
        raise InputError(
            f"model.from_scratch: {first}; give max_position_embeddings of {padding + 1 + FEWEST} or more"
        )
    return known - padding - 1


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
        made = _built(head, wanted)
        if processor is not None:
            fit(made, processor)
        return made, [], False
    try:
        made, how = getattr(transformers, head).from_pretrained(
            base,
            **settings,
            dtype="float32",
            **HERE,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        where = f"the model in {base} cannot be loaded for {ANSWERS.get(head, head)}"
        raise InputError(f"model.name: {where}: {_brief(error)}") from None
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
    try:
        made = EncoderDecoderModel.from_encoder_decoder_pretrained(base, base, **how)
    except Exception as error:  # noqa: BLE001 - whatever files raise that are not sound
        raise InputError(f"model.name: no encoder-decoder can be made of {base}: {_brief(error)}") from None
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


def from_scratch(
    base: Path, processor: "PreTrainedTokenizerBase | None", **settings: Any
) -> "PreTrainedConfig":
    """Return the config of a model from scratch: its sizes, its tokenizer's vocabulary and special tokens."""
    made = config(base)
    for its in (made, made.get_text_config()):
        if processor is None:
            break
        if getattr(its, "vocab_size", None) is not None:
            its.vocab_size = len(processor)
        for role in ("pad", "bos", "eos", "cls", "sep", "mask"):
            if hasattr(its, f"{role}_token_id"):
                setattr(its, f"{role}_token_id", getattr(processor, f"{role}_token_id"))
    if made.is_encoder_decoder and processor is not None:
        # BART's decoder starts with the end token, T5's with the padding token
        starts_with_end = getattr(made, "decoder_start_token_id", None) not in (None, 0)
        made.decoder_start_token_id = processor.eos_token_id if starts_with_end else processor.pad_token_id
    if getattr(made, "forced_eos_token_id", None) is not None and processor is not None:
        made.forced_eos_token_id = processor.eos_token_id
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def refuse_unbuildable(settings: "PreTrainedConfig", head: str) -> None:
    """Raise InputError when no model with this head can be built of these sizes, or none that fits in memory.

    Takes no memory itself, and no random number.
    """
    import torch

    try:
        with torch.device("meta"):
            made = _built(head, deepcopy(settings))
    except InputError as error:
        if "meta" in str(error).rpartition(": ")[2]:
            # one that looks at its own numbers while it is built
            return
        raise
    num_weights, free = sum(weight.numel() for weight in made.parameters()), devices.free_memory()
    if free is not None and 4 * num_weights > free:
        weights = f"{num_weights / 1e6:,.0f} million weights, {4 * num_weights / 2**20:,.0f} MB"
        there = f"{free / 2**20:,.0f} MB of memory are free"
        has = f"a {settings.model_type} of these sizes has {weights}, and {there}"
        raise InputError(f"model.from_scratch: {has}; give smaller sizes")


def _built(head: str, settings: "PreTrainedConfig") -> "PreTrainedModel":
    import transformers

    try:
        made: PreTrainedModel = getattr(transformers, head).from_config(settings, dtype="float32")
    except Exception as error:  # noqa: BLE001 - whatever a model raises that cannot be of these sizes
        what = f"a {settings.model_type} with a head for {ANSWERS.get(head, head)}"
        where = f"model.from_scratch: {what} cannot be built of these sizes"
        raise InputError(f"{where}: {_kind_and_line(error)}") from None
    return made


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


def class_logits(model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
    """Return what a classifier answers; raise InputError unless that is a number per row and label."""
    logits = model(**batch).logits
    rows = len(next(iter(batch.values())))
    if logits.shape != (rows, model.config.num_labels):
        kind, shape = f"a {model.config.model_type} model", tuple(logits.shape)
        raise InputError(
            f"model.name: {kind} answers with {shape} numbers, not with one per row and label; name another"
        )
    return logits


def try_out(
    model: "PreTrainedModel",
    probe: Callable[["PreTrainedModel", Mapping[str, Any]], Any],
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
    rows: list[dict[str, Any]],
) -> None:
    """Raise InputError unless a model, dropout off, answers a short and a long row together as each alone.

    probe: of a model and a batch, the numbers (rows, k) to compare.
    """
    import torch

    kind, training = f"a {model.config.model_type} model", model.training

    def answer(some: list[dict[str, Any]]) -> torch.Tensor:
        given = {name: values.to(model.device) for name, values in collate(some).items()}
        logits: torch.Tensor = probe(model, given)
        return logits.float()

    model.eval()
    try:
        with torch.no_grad():
            together, alone = answer(rows), torch.cat([answer([row]) for row in rows])
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model raises that wants other inputs
        raise InputError(f"model.name: {kind} cannot be fine-tuned on these rows: {_brief(error)}") from None
    finally:
        model.train(training)
    if not together.isfinite().all():
        raise InputError(
            "model.name: before any training the model answers with NaN or infinity; name a sound one"
        )
    apart = (alone - alone.flip(0)).abs().max()
    if (together - alone).abs().max() > SAME_ANSWER * apart + ROUNDING * alone.abs().max():
        raise InputError(
            f"model.name: {kind} with this tokenizer answers a padded row otherwise than the row alone, "
            "so what a package says would depend on what it is asked beside; name another model"
        )


def _brief(error: Exception) -> str:
    """Return an error's kind and first line, and what to do."""
    return f"{_kind_and_line(error)}; save or download it anew, or name another model"


def _kind_and_line(error: Exception) -> str:
    kind, line = type(error).__name__, first_line(error)
    return line if line == kind else f"{kind}: {line[:MOST_LETTERS]}"
