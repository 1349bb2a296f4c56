"""The search space of a sweep: which params are tried, and what of each, as people type it."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from tasks.shared.errors import InputError
from tasks.shared.param_names import known_names, nearest, spelled_out
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, lay_over, word

LOG = "log"
EXAMPLE = "1e-5:5e-4:log, 1:8 or 3,5"
# sections of which nothing can be searched, and why
SECTIONS = {
    **dict.fromkeys(
        ("data", "ingest", "split"),
        "it decides which rows there are, and scores on other rows do not compare",
    ),
    "problem": "each problem is measured by a score of its own",
    **dict.fromkeys(
        ("evaluate", "package", "promote", "trackers", "engine"),
        "no model becomes another by it; give it one value",
    ),
}
# of the other sections: what moves no score but by chance, or by rounding
CHANCE = "what it makes is chance, which `retrain seeds` measures"
SPEED = "it decides how fast a model is trained, not which; give it one value"
SINGLE = {
    "model.revision": "it goes with model.name; search that",
    "train.seed": CHANCE,
    **dict.fromkeys(
        (
            "train.per_device_eval_batch_size",
            "train.activation_checkpointing",
            "train.cpu_shortcuts",
            "train.encoder_cache",
            "train.dataloader_num_workers",
            "train.logging_steps",
            "train.distributed.strategy",
            "train.distributed.nproc_per_node",
            "train.distributed.nnodes",
            "train.torch_compile",
            "train.attn_implementation",
            "train.padding_free",
            "train.num_threads",
        ),
        SPEED,
    ),
    "train.metric_for_best_model": "it decides what a score is of",
}
# of a problem's own section: what a row is, what of it counts, and which rows a score is of
COUNTED = "it decides what counts as right, or on what rows, and such scores do not compare"
COUNTING = {
    *("rows", "document", "chars_per_row", "system", "answer_pattern", "words", "lowercase"),
    *("strip_punctuation", "language", "seed", "mask_share", "threshold", "validation_rows"),
    *("source_language", "target_language"),
    *("bleu_tokenizer", "tag_column", "token_column", "out_of_scope", "calibration"),
    *("template_seconds", "generation"),
}
# scores per token, which another tokenizer counts otherwise; and what the loss is made of
PER_TOKEN = ("loss", "perplexity")
OF_THE_LOSS = ("train.label_smoothing_factor", "train.class_weights")


@dataclass(frozen=True)
class Range:
    """All numbers from low to high; is_log: by their logarithm. whole: integers alone."""

    param: str
    low: float
    high: float
    is_log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        ends = f"{self.param}={_end(self.low)}:{_end(self.high)}"
        return f"{ends}:{LOG}" if self.is_log else ends

    def holds(self, value: Any) -> bool:
        """Return whether a value lies in it."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of some values, of the param's own type."""

    param: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.param}={','.join(map(word, self.values))}"

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return value in self.values


Searched = Range | Choice


def parsed(search: Iterable[str], *layers: Layer) -> list[Searched]:
    """Return what is searched, of texts such as train.learning_rate=1e-5:5e-4:log.

    layers: the params that the search goes out from. Raises InputError for what cannot be searched, and for a
    value that the param does not take.
    """
    base, found = lay_over(*layers), {}
    for text in search:
        name, equals, values = text.partition("=")
        if not equals:
            raise InputError(f"search: '{text}' says no values; give PARAM=VALUES, with VALUES as {EXAMPLE}")
        param = _own_name(name.strip())
        if (why := refusal(param, base.problem)) is not None:
            raise InputError(f"{param} cannot be searched: {why}")
        if param in found:
            raise InputError(f"{param} is searched twice; give it one range, or one list of values")
        found[param] = _read(param, values.strip(), layers)
    if not found:
        example = "`retrain sweep --train.learning-rate 1e-5:5e-4:log`"
        raise InputError(f"nothing is searched; give a param a range, or values with commas: {example}")
    return list(found.values())


def refuse_incomparable(space: Iterable[Searched], score: str) -> None:
    """Raise InputError for a param by which the score on validation becomes another measure."""
    for one in space:
        is_tokens = score in PER_TOKEN and one.param.partition(".")[0] in ("model", "tokenize")
        if is_tokens:
            why = f"trials are compared by {score} on validation, per token, and other tokens do not compare"
            raise InputError(f"{one.param} cannot be searched: {why}")
        if score == "loss" and one.param in OF_THE_LOSS:
            why = "trials are compared by the loss on validation, which it is a part of"
            raise InputError(f"{one.param} cannot be searched: {why}")


def refusal(param: str, problem: str) -> str | None:
    """Return why a param cannot be searched; None where it can."""
    section, _, name = param.partition(".")
    if section in SECTIONS:
        return SECTIONS[section]
    if param in SINGLE:
        return SINGLE[param]
    if section not in ("model", "tokenize", "train", problem):
        return f"it is for {section}, and this is {problem}"
    if section == problem and name.partition(".")[0] in COUNTING:
        return COUNTED
    if not _scalars(param):
        return "it is a list or a mapping; give it one value"
    return None


def apart(typed: Mapping[str, Any], prefix: str = "") -> tuple[list[str], dict[str, Any]]:
    """Return what of params as they were typed is to be searched, and the values that all trials have."""
    search: list[str] = []
    fixed: dict[str, Any] = {}
    for name, value in typed.items():
        param = f"{prefix}{name}"
        if isinstance(value, Mapping):
            inner, rest = apart(value, f"{param}.")
            search += inner
            fixed |= {name: rest} if rest else {}
        elif isinstance(value, str) and _is_searched(param, value):
            search.append(f"{param}={value}")
        else:
            fixed[name] = value
    return search, fixed


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by their sections, of params by their whole names."""
    found: dict[str, Any] = {}
    for param, value in params.items():
        *sections, name = param.split(".")
        here = found
        for section in sections:
            here = here.setdefault(section, {})
        here[name] = value
    return found


def value_of(params: BaseModel, param: str) -> Any:
    """Return the value of a param by its whole name."""
    value: Any = params
    for name in param.split("."):
        value = getattr(value, name)
    return value


def size(space: Iterable[Searched]) -> float:
    """Return how many different trials there are; infinite where a range of real numbers is among them."""
    counts: list[float] = []
    for one in space:
        if isinstance(one, Choice):
            counts.append(len(one.values))
        else:
            counts.append(int(one.high) - int(one.low) + 1 if one.whole else math.inf)
    return math.prod(counts)


def every(space: Iterable[Searched]) -> Iterator[dict[str, Any]]:
    """Yield all different trials of a space of choices and whole numbers."""
    params: list[str] = []
    values: list[Sequence[Any]] = []
    for one in space:
        params.append(one.param)
        values.append(one.values if isinstance(one, Choice) else range(int(one.low), int(one.high) + 1))
    for some in itertools.product(*values):
        yield dict(zip(params, some, strict=True))


def _own_name(name: str) -> str:
    """Return a param's own name by any that it may be called."""
    name = name.removeprefix("--").replace("-", "_")
    known = known_names()
    param = spelled_out(name) or known.get(name)
    if param not in known.values():
        near = nearest(name, known)
        hint = f"; did you mean '{near}'?" if near else ""
        raise InputError(f"search: there is no param '{name}'{hint}")
    return str(param)


def _is_searched(param: str, text: str) -> bool:
    """Return whether a value as it was typed means several."""
    own = known_names().get(param)
    if own is None:
        return False
    kinds = _scalars(own)
    if kinds & {int, float}:
        return ":" in text or "," in text
    # a path, a pattern or a sentence may hold a comma; a section that is a problem's is that of this one
    is_free = str in kinds and refusal(own, own.partition(".")[0]) is not None
    return bool(kinds) and not is_free and "," in text


def _scalars(param: str) -> set[Any]:
    """Return the types of single values that a param takes; none where it is a list, mapping or section."""
    section: Any = Params
    for name in param.split("."):
        annotation = section.model_fields[name].annotation
        section = annotation
    kinds: set[Any] = set()
    for kind in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,):
        if get_origin(kind) is Literal:
            kinds.add(Literal)
        elif kind in (int, float, str, bool):
            kinds.add(kind)
        elif hasattr(kind, "__metadata__"):
            kinds.add(kind.__origin__)
    return kinds


def _read(param: str, text: str, layers: Sequence[Layer]) -> Searched:
    """Return the range or the choice that a text says, each value checked as a single one is."""
    kinds = _scalars(param)
    if ":" in text and kinds & {int, float} and "," not in text:
        return _range(param, text, layers, whole=float not in kinds)
    values = [_checked(param, one.strip(), layers) for one in text.split(",")]
    if len(values) < 2:  # noqa: PLR2004 (of one there is nothing to choose)
        remedy = f"give several such as {EXAMPLE}, or fix it with --{_dashed(param)} {text}"
        raise InputError(f"search: {param}: '{text}' is one value; {remedy}")
    if len({repr(value) for value in values}) < len(values):
        raise InputError(f"search: {param}: '{text}' has a value twice; give each once")
    return Choice(param, tuple(values))


def _range(param: str, text: str, layers: Sequence[Layer], *, whole: bool) -> Range:
    low_text, high_text, *scale = (part.strip() for part in text.split(":"))
    if scale not in ([], [LOG]):
        raise InputError(f"search: {param}: '{text}' is no range; give LOW:HIGH or LOW:HIGH:log")
    low, high = (_checked(param, end, layers) for end in (low_text, high_text))
    if not all(isinstance(end, int | float) for end in (low, high)):
        raise InputError(f"search: {param}: '{text}' is no range of numbers; give LOW:HIGH")
    if not low < high:
        raise InputError(f"search: {param}: '{text}' goes from more to less; give LOW:HIGH, the lower first")
    if scale and low <= 0:
        raise InputError(f"search: {param}: '{text}' has no logarithm at {low:g}; begin above 0")
    return Range(param, low, high, is_log=bool(scale), whole=whole)


def _checked(param: str, text: str, layers: Sequence[Layer]) -> Any:
    """Return a value as the param's type has it; raise InputError when it does not take it."""
    return value_of(lay_over(*layers, Layer("search", nested({param: text}))), param)


def _end(value: float) -> str:
    """Return an end of a range as it is typed, in all its digits."""
    short = f"{value:g}"
    return short if isinstance(value, float) and float(short) == value else word(value)


def _dashed(param: str) -> str:
    section, _, name = param.partition(".")
    return f"{section}.{name.replace('_', '-')}"
