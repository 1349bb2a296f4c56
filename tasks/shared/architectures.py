"""Which model types `transformers` builds from their sizes, and which heads each has.

Read from its source, because importing it takes seconds. Only types with a head for texts are taken.
"""

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tasks.shared.errors import did_you_mean

Sizes = dict[str, bool | int | float | str | list[int] | None]

# the Auto classes of problems, and where transformers lists the types that have such a head
HEADS = {
    "AutoModel": "MODEL_MAPPING_NAMES",
    "AutoModelForAudioClassification": "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForCTC": "MODEL_FOR_CTC_MAPPING_NAMES",
    "AutoModelForCausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "AutoModelForImageClassification": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForMaskedLM": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "AutoModelForQuestionAnswering": "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
    "AutoModelForSeq2SeqLM": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "AutoModelForSequenceClassification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForSpeechSeq2Seq": "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "AutoModelForTokenClassification": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForVisualQuestionAnswering": "MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES",
}
SCALARS: dict[str, type | tuple[type, ...]] = {"bool": bool, "int": int, "float": (int, float), "str": str}
# a size for each part of a model, such as the width of each stage
LIST = "list of int"
LISTS = {"list[int]", "tuple[int, ...]"}
NEGATIVE = "negative"
# nobody has a size like that
LARGEST = 10**9
# what the tokenizer, the problem and the stage decide
DECIDED = frozenset(
    """
    vocab_size num_labels id2label label2id problem_type architectures dtype return_dict use_cache
    output_hidden_states output_attentions is_encoder_decoder add_cross_attention transformers_version
    """.split()  # noqa: SIM905 (a list of this length reads better as words)
)


@cache
def with_head(head: str) -> frozenset[str]:
    """Return the model types that an Auto class builds."""
    return frozenset(_pairs("modeling_auto.py", HEADS[head]))


@cache
def types() -> frozenset[str]:
    """Return the model types that have a head for texts."""
    heads = [with_head(head) for head in HEADS if head != "AutoModel"]
    return frozenset().union(*heads) & _configs().keys()


@cache
def sizes(kind: str) -> dict[str, frozenset[str]]:
    """Return what may be set of a model type's config, by its own and by shared names, and of which kinds.

    Kinds: bool, int, float, str, list of int, None; `negative` where the default is.
    """
    settable: dict[str, frozenset[str]] = {}
    shared_names: dict[str, str] = {}
    for statement in _config_body(kind):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            kinds = {kind.strip() for kind in ast.unparse(statement.annotation).split("|")}
            kinds = (kinds & {*SCALARS, "None"}) | ({LIST} if kinds & LISTS else set())
            if kinds - {"None"} and not _is_decided(statement.target.id):
                may_be_negative = isinstance(statement.value, ast.UnaryOp)
                settable[statement.target.id] = frozenset(kinds | ({NEGATIVE} if may_be_negative else set()))
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "attribute_map":
            shared_names |= ast.literal_eval(statement.value)
    return settable | {name: settable[own] for name, own in shared_names.items() if own in settable}


def _is_decided(name: str) -> bool:
    return name in DECIDED or name.endswith(("_token_id", "_token_ids"))


def known_sizes(given: Sizes) -> Sizes:
    """Return what `model.from_scratch` says; raise ValueError for a type or a size that there is not.

    Also for a value of another kind, and for what is decided elsewhere.
    """
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in types():
        hint = did_you_mean(str(kind), types()) or "."
        missing = f"there is no model type '{kind}'{hint}" if kind else "type is missing, such as bert."
        raise ValueError(f"{missing} Known: {', '.join(sorted(types()))}")
    settable = sizes(kind)
    for name, value in given.items():
        if name == "type":
            continue
        if _is_decided(name):
            raise ValueError(f"{name} is decided by the tokenizer and the problem and cannot be set")
        if name not in settable:
            unknown = f"a {kind} has no size '{name}'{did_you_mean(name, settable) or '.'}"
            raise ValueError(f"{unknown} It has {', '.join(sorted(settable))}")
        if not _is_one_of(value, settable[name]):
            takes = " or ".join(sorted(settable[name] - {NEGATIVE}))
            raise ValueError(f"{name} {value!r} is not allowed; it takes {takes}")
    return given


def _is_one_of(value: Any, kinds: frozenset[str]) -> bool:
    if value is None:
        return "None" in kinds
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, list):
        return LIST in kinds and all(type(its) is int and 0 <= its < LARGEST for its in value)
    if isinstance(value, (int, float)) and (value >= LARGEST or (value < 0 and NEGATIVE not in kinds)):
        return False
    return any(isinstance(value, SCALARS[kind]) for kind in kinds & SCALARS.keys() - {"bool"})


@cache
def _configs() -> dict[str, str]:
    """Return the name of each model type's config class."""
    return _pairs("auto_mappings.py", "CONFIG_MAPPING_NAMES")


def _config_body(kind: str) -> Iterator[ast.stmt]:
    """Yield what stands in the class of a model type's config, that of the types it derives from first."""
    module = _pairs("auto_mappings.py", "SPECIAL_MODEL_TYPE_TO_MODULE_NAME").get(kind, kind.replace("-", "_"))
    name = _configs()[kind]
    for file in sorted((_models() / module).glob("configuration_*.py")):
        for node in _parsed(file).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                bases = {ast.unparse(base) for base in node.bases}
                for other in sorted(other for other, its in _configs().items() if its in bases):
                    yield from _config_body(other)
                yield from node.body


def _pairs(file: str, table: str) -> dict[str, str]:
    """Return an OrderedDict of pairs in transformers' tables of Auto classes."""
    for node in _parsed(_models() / "auto" / file).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        if ast.unparse(node.targets[0]) == table:
            return dict(ast.literal_eval(node.value.args[0]))
    raise ModuleNotFoundError(f"transformers has no {table} in {file}")


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def _models() -> Path:
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("transformers is not installed")
    return Path(spec.origin).parent / "models"
