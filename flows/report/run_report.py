"""The report that a run leaves in the Prefect UI, and the links between the run and its experiment."""

import base64
import shlex
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.utilities.urls import url_for

from flows.engine.stage import Run
from flows.engine.workspace import STAGES
from flows.report.artifacts import publish_document
from flows.report.comparison import Since, since
from flows.report.summary import Summary, summarize
from tasks.shared.errors import without_password
from tasks.shared.markup import code, plain
from tasks.shared.verdict import HEADLINE, Verdict, beside_baselines, judge, spelled

REPORT = """# {name}

{verdict}

{warnings}{against}

## What has changed in the data
{changed}

{data}

## Stages
| stage | what happened | seconds |
|---|---|---:|
{stages}

## Scores on {rows} test rows
{scores}

Below a score stands its {level:.0%} interval.

![learning curve]({curve})

![confusion matrix]({confusion})

The surest mistakes are in `plots/evaluate/mistakes.csv`.

## What the model sees
{tokenizer} with {vocabulary} tokens; {cut:.2%} of the train rows cut, {unknown:.2%} of their tokens unknown. For example:

> {text}

> {tokens}

## Next
{next}
- `python -c "from transformers import pipeline; print(pipeline('{task}', 'models/package')('...'))"` tries the model.
"""
IN_PLACE = """- `git add . && git commit` keeps this run; `dvc exp save -n NAME` keeps it beside the branch.
- `dvc metrics diff`, `dvc params diff` and `dvc plots diff` compare it with the last commit."""
EXPERIMENT = """- This run {is_what} **{name}**, at commit `{commit}` on `{baseline}`; the tag {tag} finds its flow runs.
- {apply} brings it into the checkout: params, code, data and model.
- {diff} compares it.
- `dvc exp show -A --only-changed --drop '.*[./]'` lists it beside all others.
- {reproduce} computes it again and says whether every bit is the same."""
NO_LAST = (
    "No earlier run of this problem on this data is on record, neither among the experiments nor among this "
    "branch's commits, so there is none to compare it with."
)
LABELS = 15  # labels whose counts are listed
LONG = 80  # characters of a row that is shown as an example


def publish(run: Run) -> State[Summary]:
    """Save an isolated run as an experiment, leave the report as an artifact, and return how the run ended: in one line, and all of it."""
    url = without_password(url_for("flow-run", obj_id=runtime.flow_run.id) or "It ran without a server that stays.")
    saved = run.space.save(f"retrain: flow run {run.space.name} ({runtime.flow_run.id})\n\n{url}")
    if saved is not None:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(runtime.flow_run.id)
            client.update_flow_run(flow_run.id, tags={*flow_run.tags, saved.tag})
    results = {name: str(result) for name, result in run.results.items()}
    summary = summarize(run.space.root, results, run.seconds, saved, since(run.space, saved))
    publish_document("report", markdown(run, summary), summary.sentence)
    return Completed(message=summary.sentence, data=summary)


def markdown(run: Run, summary: Summary) -> str:
    """Return the report as Markdown, its pictures inside."""
    tokenized, params = summary.metrics["tokenize"], run.space.params
    return REPORT.format(
        name=f"{plain(params.package.name)}: {plain(runtime.flow_run.name)}",
        verdict=_verdict(summary),
        warnings=_warnings(summary),
        against=_against(summary),
        changed=_changed(summary.since),
        data=_data(run, summary),
        stages="\n".join(f"| {name} | {_happened(summary, name)} | {summary.seconds[name]:.1f} |" for name in STAGES),
        rows=summary.metrics["evaluate"]["rows"],
        level=params.evaluate.confidence_level,
        scores=_scores(summary),
        confusion=_picture(run.space.root / "plots/evaluate/confusion_matrix.png"),
        curve=_picture(run.space.root / "plots/evaluate/learning_curve.png"),
        tokenizer=code(tokenized["tokenizer"]),
        vocabulary=tokenized["vocabulary"],
        cut=tokenized["train"]["truncated_share"],
        unknown=tokenized["train"]["unknown_share"],
        text=plain(tokenized["example"]["text"]),
        tokens=plain(" ".join(tokenized["example"]["tokens"])),
        next=_next(summary),
        task=params.problem.replace("_", "-"),
    )


def _verdict(summary: Summary) -> str:
    verdict, numbers = beside_baselines(summary.metrics["evaluate"])
    return f"**{verdict}**: {numbers}."


def _warnings(summary: Summary) -> str:
    """Return what the stages warned of, a paragraph each."""
    said = [sentence for metrics in summary.metrics.values() for sentence in metrics.get("warnings", ())]
    return "".join(f"**Warning**: {plain(sentence)}.\n\n" for sentence in said)


def _against(summary: Summary) -> str:
    """Say whether the model is better than the last run's, as far as their intervals and test rows can tell."""
    last = summary.since
    if last is None:
        return NO_LAST
    if last.is_same:
        return f"**Nothing has changed since {_name(last)}**: it is the same model."
    scores = summary.metrics["evaluate"]
    mine, its = (some["interval"][HEADLINE] for some in (scores, last.scores))
    verdict = judge(scores[HEADLINE], mine, last.scores[HEADLINE], its)
    its_score = f"{last.scores[HEADLINE]:.4f} ({spelled(its)})"
    numbers = f"macro F1 {scores[HEADLINE]:.4f} ({spelled(mine)}) against {its_score}"
    why_not = ", and the intervals overlap" if verdict == Verdict.unknown else ""
    told = f"**{verdict} {_name(last)}**: {numbers}{why_not}"
    if last.test is None:
        return f"{told}. Whether both were tested on the same rows is not known."
    return f"{told}. They were tested on {f'different rows: {last.test}' if last.test else 'the same rows'}."


def _changed(last: Since | None) -> str:
    if last is None or last.is_same:
        return "There is no earlier run to compare the rows with." if last is None else f"Nothing since {_name(last)}."
    if last.rows is None:
        back = f"; `retrain check {last.commit[:10]} --repair` brings them back" if last.commit else ""
        return f"Which rows have changed since {_name(last)} is not known: its own are no longer in the DVC cache{back}."
    if not last.rows:
        return f"No row has changed since {_name(last)}."
    examples = [f"| {example.what} | {plain(example.label)} | {plain(example.row, LONG)} |" for example in last.rows.examples]
    return "\n".join([f"**Rows since {_name(last)}: {last.rows}.** For example:", "", "| | label | row |", "|---|---|---|", *examples])


def _data(run: Run, summary: Summary) -> str:
    ingested, split = summary.metrics["ingest"], summary.metrics["split"]
    lines = [
        f"{code(run.space.params.data.path)}: {ingested['read']} rows read, {ingested['rows']} taken.",
        f"Equal rows under different labels: {ingested['conflicting_labels']}.",
        f"{ingested['rejected']} rejected, {ingested['duplicates']} of them duplicates; reasons in `data/ingested/rejected.jsonl`.",
        f"{split['train']} train, {split['validation']} validation, {split['test']} test rows by `{run.space.params.split.method}`.",
        f"Labels: {_labels(ingested['labels'], summary.since.ingest.get('labels') if summary.since else None)}.",
    ]
    return "\n\n".join(lines)


def _labels(counts: dict[str, int], earlier: dict[str, int] | None) -> str:
    """List the labels with their rows, and by how many they have grown or shrunk."""
    earlier = counts if earlier is None else earlier
    words = [f"{plain(label)} {count}{_signed(count - earlier.get(label, 0))}" for label, count in list(counts.items())[:LABELS]]
    more = f" and {len(counts) - LABELS} more" if len(counts) > LABELS else ""
    gone = [plain(label) for label in earlier if label not in counts]
    return ", ".join(words) + more + (f"; gone: {', '.join(gone)}" if gone else "")


def _signed(change: int) -> str:
    return f" ({change:+d})" if change else ""


def _happened(summary: Summary, name: str) -> str:
    happened = summary.results[name]
    return "**ran**" if happened == "ran" else f"cached, {happened}"


def _scores(summary: Summary) -> str:
    """Return a table: a score a row, with its interval; beside it the last run's, the difference, and the baselines'."""
    scores, last = summary.metrics["evaluate"], summary.since
    others = scores["baselines"]
    with_last = bool(last and last.scores)
    head = ["", "model", *([_name(last), "difference"] if last and with_last else []), *others]
    rows = [head, ["---", *("---:" for _ in head[1:])]]
    for name in scores["interval"]:
        row = [name, f"**{scores[name]:.4f}**<br>{_interval(scores, name)}"]
        if last and with_last:
            known = name in last.scores["interval"]
            row += [f"{last.scores[name]:.4f}<br>{_interval(last.scores, name)}", f"{scores[name] - last.scores[name]:+.4f}"] if known else ["", ""]
        rows.append([*row, *(f"{other[name]:.4f}" if name in other else "" for other in others.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _interval(scores: dict[str, Any], name: str) -> str:
    return spelled(scores["interval"][name])


def _next(summary: Summary) -> str:
    saved = summary.saved
    if saved is None:
        return IN_PLACE
    is_what = "is the experiment" if saved.is_new else "equals what there was already:"
    return EXPERIMENT.format(
        is_what=is_what,
        name=code(saved.name),
        commit=saved.commit[:10],
        baseline=saved.baseline[:10],
        tag=code(saved.tag),
        apply=_command("dvc exp apply", saved.name),
        diff=_command("dvc exp diff", saved.name),
        reproduce=_command("retrain reproduce", saved.name),
    )


def _command(words: str, name: str) -> str:
    """Return a command on an experiment, to be pasted into a shell: others may have chosen its name."""
    return code(f"{words} {shlex.quote(name)}")


def _name(last: Since) -> str:
    return code(last.name) if last.commit else plain(last.name)


def _picture(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
