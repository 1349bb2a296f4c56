"""Options as people type them: short forms spelled out, and what to type instead of one that there is not."""

from collections.abc import Iterable

from tasks.shared.param_names import names, nearest, spelled_out

OF_PARAMS = ("run", "plan", "preview", "tokenizer", "sweep")
INSTEAD = {"dry-run": "`retrain plan` with the same options says what a run would do"}


def written_out(words: Iterable[str]) -> list[str]:
    """Return a command line with short forms of params spelled out: --lr is --train.learning-rate."""
    command, *options = [*words] or [""]
    if command not in OF_PARAMS:
        return [command, *options] if command else []
    # what `retrain tokenizer` reads may look like an option of its own, behind --
    end = options.index("--") if "--" in options else len(options)
    return [command, *(_written_out(word) for word in options[:end]), *options[end:]]


def _written_out(word: str) -> str:
    option, equals, value = word.partition("=")
    param = spelled_out(option.removeprefix("--")) if option.startswith("--") else None
    return f"{_option(param)}{equals}{value}" if param else word


def unknown(option: str) -> str:
    """Return the sentence for an option that there is not, with the one or the ones that it may mean."""
    name = option.partition("=")[0].removeprefix("--")
    known = dict(names())
    alike = [other for other in known if other.rpartition(".")[2] == name.replace("-", "_")]
    if name in INSTEAD:
        hint = INSTEAD[name]
    elif len(alike) > 1:
        hint = f"which one is meant: {', '.join(map(_option, alike))}?"
    elif near := nearest(name, known):
        hint = f"did you mean {_option(near)}?"
    else:
        hint = "`retrain run --help` names all"
    return f"there is no option --{name}; {hint}"


def _option(param: str) -> str:
    """Return the option that sets a param; keys of a mapping stay as they are."""
    section, dot, rest = param.partition(".")
    field, *key = rest.split(".", 1)
    return f"--{'.'.join([section + dot + field.replace('_', '-'), *key])}"
