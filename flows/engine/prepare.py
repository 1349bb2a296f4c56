"""Preparing a run: its data versioned, its base model's content named, its params written to params.yaml."""

from pathlib import Path

from flows.engine import data
from flows.git import worktrees
from flows.ledger import journal
from flows.registry.champion import keep_named
from flows.registry.champion import resolved as resolved_champion
from tasks import problems
from tasks.shared import architectures, base_models, tracking
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.files import replace
from tasks.shared.params import Model, Params
from tasks.shared.params_file import PARAMS, written
from tasks.shared.say import Say


def prepare(params: Params, checkout: Path, home: Path, say: Say, *, update_data: bool) -> Params:
    """Version the data, name the base model's content, write params.yaml; return the params that stand there.

    update_data: take in the newer state of imported data.
    home: the checkout that relative paths of ignored data and models mean; `checkout` unless the run is
    isolated.
    """
    tracking.refuse_missing(params.trackers)
    params, source = data.located(params, checkout, home, isolated=home != checkout)
    share_bases(params.model, checkout, home)
    model = resolved(params, home, say)
    if home == checkout:
        data.warn_of_readers(home / (source or params.data.path), checkout, say)
    params = data.imported(params, source, checkout, say)
    if update_data:
        data.update(params, checkout, say)
    if model.name is None and params.model.name is not None:
        why = "a model from scratch with a tokenizer of its own needs none"
        say(f"model.name {params.model.name} becomes none: {why}")
    elif model != params.model:
        say(f"model {model.name} is at revision {model.revision}")
    champion = resolved_champion(params, home, say)
    promote = params.promote.model_copy(update={"champion": champion})
    params = params.model_copy(update={"model": model, "promote": promote})
    text = written(params, checkout / PARAMS)
    # in the checkout itself every stage may be unchanged, so that they were looked at before: loading a
    # problem takes a moment
    if text is not None or home != checkout:
        refuse_unknown_names(params)
    if text is not None:
        journal.will_write(checkout, str(PARAMS), text)
        replace(checkout / PARAMS, text)
    return params


def share_bases(model: Model, folder: Path, home: Path) -> None:
    """Have a worktree see the base models of its checkout: what is kept there, and an ignored folder."""
    kept = home / base_models.BASES
    kept.mkdir(parents=True, exist_ok=True)
    worktrees.link(str(base_models.BASES), folder, home)
    # a worktree's own package would be written through a link into the checkout's
    if not base_models.is_warm(model.name):
        worktrees.link(model.name, folder, home)


def keep_models(params: Params, home: Path, say: Say) -> None:
    """Keep the models that the params of a commit name where its stages find them.

    Those are a package to start from and the champion. Raises InputError when the cache does not hold them.
    """
    if base_models.is_warm(params.model.name):
        resolved(params, home, say)
    if params.promote.champion is not None:
        keep_named(params.promote.champion, home, say)


def resolved(params: Params, home: Path, say: Say) -> Model:
    """Return `params.model` with what its name means now; an experiment's package comes from DVC's cache."""
    model = base_models.needed(params)
    name = model.name or ""
    is_kept = model.revision is not None and base_models.warm_folder(model.revision).exists()
    if name == base_models.PACKAGE and model.revision is None and (home / name / "config.json").exists():
        # a worktree has none of its own
        return model.model_copy(update={"revision": base_models.keep_package(home / name, name)})
    if not is_kept and name.startswith(base_models.EXPERIMENT):
        from flows.ledger import packages

        found = packages.keep(home, name, say)
        if model.revision not in (None, found):
            other = f"the package of '{name}' is {found[:19]}..., not {str(model.revision)[:19]}..."
            remedy = "take the new one with `retrain run --model.revision none`"
            raise InputError(f"model.revision: {other}; {remedy}")
        return model.model_copy(update={"revision": found})
    return base_models.resolve(model)


def refuse_unknown_names(params: Params) -> None:
    """Raise InputError when the problem has no such column, or no such score to select the checkpoint by."""
    problem = problems.load(params.problem, params.own)
    problems.refuse_unknown_columns(params.data.columns, problem)
    _refuse_headless(params, getattr(problem, "head", None))
    known = ("loss", *problem.metrics)
    name = params.train.metric_for_best_model
    if name is not None and name.removeprefix("eval_") not in known:
        hint = did_you_mean(name, known)
        param = "train.metric_for_best_model"
        raise InputError(f"{param}: there is no validation metric '{name}'{hint} Known: {', '.join(known)}")


def _refuse_headless(params: Params, head: str | None) -> None:
    """Raise InputError when transformers has no head for the problem on this type of model."""
    kind = str(params.model.from_scratch.get("type", ""))
    if not kind or head is None or head not in architectures.HEADS:
        return
    those = architectures.with_head(head) & architectures.types()
    if kind not in those:
        hint = did_you_mean(kind, those) or "."
        missing = f"transformers has no {head} for a {kind}, which {params.problem} needs{hint}"
        raise InputError(f"model.from_scratch: {missing} It has one for {', '.join(sorted(those))}")
