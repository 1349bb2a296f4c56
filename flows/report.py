"""The report that a run leaves in the Prefect UI."""

import base64
from pathlib import Path

from prefect import runtime
from prefect.artifacts import create_markdown_artifact

from flows.stage import Run
from flows.summary import Summary, summarize
from flows.workspace import STAGES

REPORT = """# {name}

{verdict}

## Stages
| stage | what happened | seconds |
|---|---|---:|
{stages}

## Data
{data}

## Scores on {rows} test rows
| | model | {level:.0%} interval | {baselines} |
|---|---:|---|{rule}|
{scores}

![confusion matrix]({confusion})

![learning curve]({curve})

The surest mistakes are in `plots/evaluate/mistakes.csv`.

## What the model sees
`{tokenizer}` with {vocabulary} tokens; {cut:.2%} of the train rows cut, {unknown:.2%} of their tokens unknown. For example:

> {text}

`{tokens}`

## Next
{next}
- `python -c "from transformers import pipeline; print(pipeline('{task}', 'models/package')('...'))"` tries the model.
"""
IN_PLACE = """- `git add . && git commit` keeps this run; `dvc exp save -n NAME` keeps it beside the branch.
- `dvc metrics diff`, `dvc params diff` and `dvc plots diff` compare it with the last commit."""
EXPERIMENT = """- This run {is_what} **`{name}`**, at commit `{commit}` on `{baseline}`.
- `dvc exp apply {name}` brings it into the checkout: params, code, data and model.
- `dvc exp diff {name}` compares it; `dvc exp show` lists it beside the others.
- `retrain reproduce {name}` computes it again and says whether every bit is the same."""


def publish(run: Run) -> Summary:
    """Save an isolated run as an experiment, write the report as a markdown artifact, and return what it was made of."""
    saved = run.space.save(runtime.flow_run.name, f"retrain: flow run {runtime.flow_run.name} ({runtime.flow_run.id})")
    summary = summarize(run.space.root, {name: str(outcome) for name, outcome in run.outcomes.items()}, run.seconds, saved)
    create_markdown_artifact(markdown(run, summary), key="report", description=f"Report of {runtime.flow_run.name}")
    return summary


def markdown(run: Run, summary: Summary) -> str:
    """Return the report as Markdown, its pictures inside."""
    evaluated, tokenized = summary.metrics["evaluate"], summary.metrics["tokenize"]
    return REPORT.format(
        name=f"{run.space.params.package.name}: {runtime.flow_run.name}",
        verdict=_verdict(summary),
        stages="\n".join(f"| {name} | {_happened(summary, name)} | {summary.seconds[name]:.1f} |" for name in STAGES),
        data=_data(run, summary),
        rows=evaluated["rows"],
        level=run.space.params.evaluate.confidence_level,
        baselines=" | ".join(evaluated["baselines"]),
        rule="|".join("---:" for _ in evaluated["baselines"]),
        scores=_scores(summary),
        confusion=_picture(run.space.root / "plots/evaluate/confusion_matrix.png"),
        curve=_picture(run.space.root / "plots/evaluate/learning_curve.png"),
        tokenizer=tokenized["tokenizer"],
        vocabulary=tokenized["vocabulary"],
        cut=tokenized["train"]["truncated_share"],
        unknown=tokenized["train"]["unknown_share"],
        text=" ".join(tokenized["example"]["text"].split()),
        tokens=" ".join(tokenized["example"]["tokens"]),
        next=_next(summary),
        task=run.space.params.problem.replace("_", "-"),
    )


def _verdict(summary: Summary) -> str:
    scores = summary.metrics["evaluate"]
    best = max(scores["baselines"], key=lambda name: scores["baselines"][name]["macro_f1"])
    low = scores["interval"]["macro_f1"][0]
    floor = scores["baselines"][best]["macro_f1"]
    if low > floor:
        return f"**Better than the {best} baseline**: macro F1 {scores['macro_f1']:.4f}, at least {low:.4f}, against {floor:.4f}."
    return f"**Not shown to be better than the {best} baseline**: macro F1 {scores['macro_f1']:.4f}, perhaps only {low:.4f}, against {floor:.4f}."


def _next(summary: Summary) -> str:
    saved = summary.saved
    if saved is None:
        return IN_PLACE
    is_what = "is the experiment" if saved.is_new else "equals what there was already:"
    return EXPERIMENT.format(is_what=is_what, name=saved.name, commit=saved.commit[:10], baseline=saved.baseline[:10])


def _happened(summary: Summary, name: str) -> str:
    happened = summary.outcomes[name]
    return "**ran**" if happened == "ran" else f"cached, {happened}"


def _data(run: Run, summary: Summary) -> str:
    ingested, split = summary.metrics["ingest"], summary.metrics["split"]
    labels = ", ".join(f"{label} {count}" for label, count in list(ingested["labels"].items())[:15])
    more = f" and {len(ingested['labels']) - 15} more" if len(ingested["labels"]) > 15 else ""  # noqa: PLR2004
    lines = [
        f"`{run.space.params.data.path}`: {ingested['read']} rows read, {ingested['rows']} taken.",
        f"{ingested['conflicting_labels']} texts stand under several labels.",
        f"{ingested['rejected']} rejected, {ingested['duplicates']} of them duplicates; reasons in `data/ingested/rejected.jsonl`.",
        f"{split['train']} train, {split['validation']} validation, {split['test']} test rows by `{run.space.params.split.method}`.",
        *split["warnings"],
        f"Labels: {labels}{more}.",
    ]
    return "\n\n".join(lines)


def _scores(summary: Summary) -> str:
    scores = summary.metrics["evaluate"]
    rows = []
    for name, (low, high) in scores["interval"].items():
        beside = [f"{baseline[name]:.4f}" if name in baseline else "" for baseline in scores["baselines"].values()]
        rows.append(f"| {name} | **{scores[name]:.4f}** | {low:.4f} to {high:.4f} | {' | '.join(beside)} |")
    return "\n".join(rows)


def _picture(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
