"""A sweep in pictures: its history, its learning curves, what mattered, and each param by itself."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flows.sweeps.results import Sweep, Tried, shown
from tasks.shared.pictures import canvas

# slices beside each other
ACROSS = 3
# values of a param that each have a mark of their own, and letters of one that fit below it
FEW, FIT = 4, 14
DONE, BEST, PRUNED = "tab:blue", "tab:orange", "gray"


def pictures(sweep: Sweep) -> dict[str, Figure]:
    """Return the pictures by their names; none before something is done.

    Curves are drawn where trainings were evaluated more than once, importance where it is known.
    """
    if not sweep.done:
        return {}
    drawn = {"history": _history(sweep)}
    if max(len(trial.curve) for trial in sweep.tried) > 1:
        drawn["learning_curves"] = _learning_curves(sweep)
    if sweep.importance:
        drawn["importance"] = _importance(sweep)
    return drawn | {"slices": _slices(sweep)}


def _history(sweep: Sweep) -> Figure:
    """Draw each trial's score, and the best until then."""
    figure = canvas(6, 3)
    axes = figure.add_subplot()
    pick = max if sweep.higher_is_better else min
    scores = [trial.score or 0.0 for trial in sweep.done]
    best = [pick(scores[: place + 1]) for place in range(len(scores))]
    axes.step(_numbers(sweep.done), best, where="post", color=BEST, label="best until then", zorder=1)
    axes.scatter(_numbers(sweep.done), scores, color=DONE, label="done", s=20, zorder=2)
    _cross(axes, sweep, _numbers(_pruned(sweep)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="trial", ylabel=f"{sweep.metric} on validation")
    axes.set_xlim(-0.5, sweep.tried[-1].number + 0.5)
    _tidy(axes)
    axes.legend()
    return figure


def _learning_curves(sweep: Sweep) -> Figure:
    """Draw what each trial had scored at each of its evaluations."""
    figure = canvas(6, 3)
    axes = figure.add_subplot()
    for trial in [one for one in sweep.tried if one.curve]:
        is_best = sweep.best is not None and trial.number == sweep.best.number
        is_pruned = trial.state == "pruned"
        color = BEST if is_best else PRUNED if is_pruned else DONE
        how: dict[str, Any] = {
            "color": color,
            "linewidth": 2 if is_best else 1,
            "zorder": 3 if is_best else 1,
        }
        label = f"trial {trial.number}, the best" if is_best else trial.state
        known = axes.get_legend_handles_labels()[1]
        alpha = 1.0 if is_best else 0.6
        places = range(1, len(trial.curve) + 1)
        axes.plot(places, trial.curve, alpha=alpha, label=None if label in known else label, **how)
        if is_pruned:
            axes.plot(places[-1:], trial.curve[-1:], "x", color=PRUNED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="evaluation", ylabel=f"{sweep.metric} on validation")
    _tidy(axes)
    axes.legend()
    return figure


def _importance(sweep: Sweep) -> Figure:
    """Draw which share of how scores differ goes with each param."""
    figure = canvas(6, 0.8 + 0.3 * len(sweep.importance))
    axes = figure.add_subplot()
    drawn = axes.barh(list(sweep.importance), list(sweep.importance.values()), color=DONE)
    axes.bar_label(drawn, fmt="{:.0%}", padding=3)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1), xlabel="share of how scores differ")
    axes.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _slices(sweep: Sweep) -> Figure:
    """Draw the score over each param, the later trials darker."""
    params = [text.partition("=")[0] for text in sweep.search]
    rows, columns = -(-len(params) // ACROSS), min(len(params), ACROSS)
    figure = canvas(max(4, 3 * columns), 3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    marks: Any = None
    for place, axes in enumerate(grid.flat):
        if place >= len(params):
            axes.axis("off")
            continue
        marks = _slice(axes, sweep, params[place])
        _scale(axes, sweep, place)
        if place % ACROSS == 0:
            axes.set_ylabel(f"{sweep.metric} on validation")
        _tidy(axes)
    if len(sweep.done) > 1:
        bar = figure.colorbar(marks, ax=grid, label="trial", shrink=0.8, pad=0.01)
        bar.ax.set_ylim(sweep.done[0].number, sweep.done[-1].number)
        bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _slice(axes: Any, sweep: Sweep, param: str) -> Any:
    """Draw scores over a param's values, a ring about the best; return the marks."""
    values = _places(sweep.done, param)
    scores = [trial.score for trial in sweep.done]
    # a light blue at least, so that the first ones are seen
    first, last = sweep.done[0].number, sweep.done[-1].number
    low = first - max(1, last - first) / 3
    how: Any = {"c": _numbers(sweep.done), "cmap": "Blues", "vmin": low, "vmax": max(last, first + 1)}
    marks = axes.scatter(values, scores, s=24, linewidths=0.5, edgecolors="gray", **how)
    if sweep.best is not None:
        ring: Any = {"s": 90, "facecolors": "none", "edgecolors": BEST, "linewidths": 1.5}
        axes.scatter(_places([sweep.best], param), [sweep.best.score], **ring)
    _cross(axes, sweep, _places(_pruned(sweep), param))
    axes.set_xlabel(param)
    return marks


def _scale(axes: Any, sweep: Sweep, place: int) -> None:
    """Have an axis be of what was searched: a logarithm, numbers, or a few values by name."""
    param, _, searched = sweep.search[place].partition("=")
    values = {trial.params[param] for trial in sweep.tried if param in trial.params}
    if ":" in searched and "," not in searched:
        low, high, *_ = searched.split(":")
        if searched.endswith(":log"):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: shown(value))
            axes.xaxis.set_minor_formatter("")
        axes.set_xlim(float(low), float(high))
        # what lies at an end is whole
        for marks in axes.collections:
            marks.set_clip_on(False)
    elif all(_is_number(value) for value in values) and len(values) <= FEW:
        axes.set_xticks(sorted(values), [shown(value) for value in sorted(values)])
        axes.margins(x=0.2)
    elif not all(_is_number(value) for value in values):
        axes.tick_params(axis="x", rotation=30)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
        axes.margins(x=0.2)


def _places(trials: Sequence[Tried], param: str) -> list[Any]:
    """Return where trials stand on a param's axis: at its numbers, or at names."""
    values = [trial.params[param] for trial in trials]
    return [value if _is_number(value) else _short(shown(value)) for value in values]


def _cross(axes: Any, sweep: Sweep, places: Sequence[Any]) -> None:
    """Draw what pruned trials had reached."""
    pick = max if sweep.higher_is_better else min
    if places:
        reached = [pick(trial.curve) for trial in _pruned(sweep)]
        axes.scatter(places, reached, marker="x", color=PRUNED, label="pruned", s=20, linewidths=1)


def _pruned(sweep: Sweep) -> list[Tried]:
    return [trial for trial in sweep.tried if trial.state == "pruned" and trial.curve]


def _numbers(trials: Sequence[Tried]) -> list[int]:
    return [trial.number for trial in trials]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(text: str) -> str:
    return text if len(text) <= FIT else f"{text[: FIT - 1]}…"


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
