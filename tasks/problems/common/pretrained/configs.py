"""A base model's config.json: what it says of sizes is held against the weights before it is believed."""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.problems.common.pretrained.errors import in_words
from tasks.shared.base_models import FROM_SCRATCH
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.foreign_code import refuse_code

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

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
# a row of fewer tokens says nothing
FEWEST = 4


def is_from_scratch(folder: Path) -> bool:
    """Return whether a base has no weights: they are all drawn, of the sizes in its config.json."""
    return (folder / FROM_SCRATCH).exists()


def config(folder: Path) -> "PreTrainedConfig":
    """Load a model's config; raise InputError for a kind of model that transformers does not know."""
    from transformers import AutoConfig

    refuse_code(folder)
    _refuse_giants(folder)
    with in_words(f"model.name: config.json in {folder} cannot be loaded"):
        return AutoConfig.from_pretrained(folder, **HERE)


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
