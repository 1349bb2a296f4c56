"""What people call a param: its short forms, and which param a name that nobody knows seems to mean."""

import difflib
from collections.abc import Iterable, Iterator
from functools import cache

from pydantic import AliasChoices, BaseModel

from tasks.shared.params import Params

# without a section; every other name that only one section has needs none either
SHORT = {"model": "model.name", "data": "data.path", "batch_size": "train.per_device_train_batch_size"}

# what is no param, or not one alone
ELSEWHERE = {"text_column": "data.columns.text", "label_column": "data.columns.label"}

# words of one line mean the same
SAME = """
    optim optimizer
    scheduler schedule
    share size ratio fraction proportion percent split
    steps iterations iters ratio
    validation val dev
    length len tokens
    revision commit version
    path file files dir folder dataset
    precision dtype fp16 bf16 fp32 amp
    nproc gpus gpu devices processes
    resamples bootstrap
    activation gradient
    eval evaluation
    decay l2
    norm clip clipping
    sampling sampler shuffle
    license licence
    method strategy
"""
MEANINGS = [set(line.split()) for line in SAME.split("\n") if line.strip()]

# as much alike two words must be to be one with a slip in it, and two names to be worth telling
SLIP, WORTH_TELLING = 0.75, 0.7


def names(section: type[BaseModel] = Params, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield what each param may be called, and its own name: ("train.lr", "train.learning_rate")."""
    for name, field in section.model_fields.items():
        own = f"{prefix}{name}"
        aliases = field.validation_alias
        for choice in aliases.choices if isinstance(aliases, AliasChoices) else [name]:
            yield f"{prefix}{choice}", own
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names(field.annotation, f"{own}.")


@cache
def known_names() -> dict[str, str]:
    """Return each param's own name by all that it may be called."""
    return dict(names())


@cache
def _without_section() -> dict[str, str]:
    """Return the params whose name no other section has, by that name, and those of SHORT."""
    own: dict[str, set[str]] = {}
    for name, param in known_names().items():
        own.setdefault(name.rpartition(".")[2], set()).add(param)
    only = {name: min(params) for name, params in own.items() if len(params) == 1 and "." in min(params)}
    return only | SHORT


def spelled_out(name: str) -> str | None:
    """Return the param that a short form means (epochs, train.epochs, columns.text), else None."""
    name = name.replace("-", "_")
    if name in SHORT:
        return SHORT[name]
    if name in known_names():
        return known_names()[name] if known_names()[name] != name else None
    first, dot, key = name.partition(".")
    param = _without_section().get(first)
    return f"{param}{dot}{key}" if param and (not dot or param in _mappings()) else None


def _mappings() -> set[str]:
    """Return the params that are mappings, whose keys a user chooses."""
    found = set()
    for section, values in Params.model_construct().model_dump().items():
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, dict):
                found.add(f"{section}.{name}")
    return found


def nearest(name: str, among: Iterable[str]) -> str | None:
    """Return the name among others that `name` seems to mean, by its words; None when none is near."""
    name = name.replace("-", "_")
    if name.rpartition(".")[2] in ELSEWHERE:
        return ELSEWHERE[name.rpartition(".")[2]]
    among = [*among]
    if name in among:
        return name
    best = max(among, key=lambda known: _likeness(name, known))
    return best if _likeness(name, best) >= WORTH_TELLING else None


def _likeness(one: str, other: str) -> float:
    """Return how alike two names are: 1 where every word has its like, and a little more in the same section.

    That all words of `one` are found counts more than that `other` has no more: people type a part.
    """
    (here, _, typed), (there, _, known) = one.rpartition("."), other.rpartition(".")
    found = _found(typed.split("_"), known.split("_")), _found(known.split("_"), typed.split("_"))
    by_letters = difflib.SequenceMatcher(None, typed, known).ratio()
    return max(0.7 * found[0] + 0.3 * found[1], by_letters) + (0.1 if here == there else 0)


def _found(words: list[str], among: list[str]) -> float:
    """Return which share of some words have their like among others."""
    return sum(max(_same(word, other) for other in among) for word in words) / len(words)


def _same(one: str, other: str) -> float:
    """Return how alike two words are, in meaning or but for a slip of the hand."""
    if one == other or any(one in words and other in words for words in MEANINGS):
        return 1
    likeness = difflib.SequenceMatcher(None, one, other).ratio()
    return likeness if likeness >= SLIP else 0
