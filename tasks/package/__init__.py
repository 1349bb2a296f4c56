"""Put together what leaves the house: the model, its card, where it comes from, and proof that it serves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from tasks.package import serve
from tasks.problems import Problem
from tasks.shared import base_models, devices, keys, predictions
from tasks.shared import slots as slots
from tasks.shared.errors import InputError
from tasks.shared.files import digests, manifest, read_json, write_json
from tasks.shared.markup import Markdown
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.samples import read_samples
from tasks.shared.stage import end_with_parent, pins
from tasks.shared.templates import render
from tasks.shared.verdict import Scores, beside_baselines, metrics

CARD = Path(__file__).parent / "templates/card.md.j2"


def package(params: Params, problem: Problem, paths: Paths) -> None:
    """Write a folder that `transformers` loads, with README.md, provenance.json and MANIFEST.sha256.

    The packaged model must
    repeat evaluate's predictions.csv in a process of its own; raises InputError when it does not. The
    manifest is written last, so its existence proves the rest.
    """
    problem.media = paths.media
    out = paths.package
    out.mkdir(parents=True, exist_ok=True)
    problem.export(paths.checkpoint, out)
    if problem.serve is not None:
        shutil.copyfile(problem.serve, out / problem.serve.name)
    test = pl.read_parquet(paths.split("test"))
    write_json(out / "provenance.json", provenance(params, paths))
    scores, counts = read_json(paths.metric("evaluate")), read_json(paths.metric("split"))
    predicted = predictions.read(paths.plots / "predictions.csv", problem.columns)
    example = next((given for given in problem.asked(out, test, predicted) if given is not None), None)
    samples = read_samples(paths.plots / "samples.csv")
    (out / "README.md").write_text(
        card(params, problem, scores, counts["train"], example, samples), encoding="utf-8"
    )
    repeated = repeat(problem, out, test, predicted)
    (out / "MANIFEST.sha256").write_text(manifest(digests(out)), encoding="utf-8")
    files = list(out.iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    numbers = {"files": len(files), "megabytes": size, "predictions_repeated": repeated}
    write_json(paths.metric("package"), numbers)
    proof = f"repeats {repeated} of {test.height} test predictions through transformers alone"
    print(f"{out}: {size:.1f} MB, {proof}")


def provenance(params: Params, paths: Paths) -> dict[str, Any]:
    """Return what decided the bytes (data, params, sources, versions, device) and the scores they got."""
    scores = read_json(paths.metric("evaluate"))
    for part in ("per_class", "slices"):
        scores.pop(part, None)
    warm = base_models.started_from(params.model)
    return {
        **({"started_from": warm} if warm else {}),
        "data": {"ingest": read_json(paths.metric("ingest")), "splits": digests(paths.splits)},
        "params": params.deciding(),
        "sources": keys.sources(params.problem),
        "pins": pins(params.problem),
        "device": devices.describe(),
        "metrics": {"train": read_json(paths.metric("train")), "evaluate": scores},
    }


def card(
    params: Params,
    problem: Problem,
    scores: Scores,
    num_train: int,
    example: Any,
    samples: Sequence[dict[str, str]] = (),
) -> str:
    """Return the model card as Markdown, its model-index in front, as the hub reads it.

    example: a row as the pipeline takes it. samples: rows for people to read, by the names of what they hold.
    """
    from huggingface_hub import EvalResult, ModelCardData

    dataset = Path(params.data.path).stem
    task = {"task_type": problem.task, "dataset_split": "test"}
    task |= {"dataset_type": dataset, "dataset_name": dataset}
    results = [EvalResult(**task, metric_type=name, metric_value=scores[name]) for name in metrics(scores)]
    base = None if params.model.from_scratch else params.model.name
    is_on_hub = base is not None and base.count("/") == 1 and not Path(base).exists()
    head = ModelCardData(
        language=params.package.language,
        license=params.package.license,
        pipeline_tag=problem.task,
        library_name="transformers",
        base_model=base if is_on_hub else None,
        model_name=params.package.name,
        eval_results=results,
    )
    served_with = [f"{word}={value!r}" for word, value in problem.served_with.items()]
    return render(
        CARD,
        head=Markdown(head),
        name=params.package.name,
        base=base,
        kind=params.model.from_scratch.get("type"),
        task=Markdown(problem.task),
        train=num_train,
        scores=scores,
        metrics=metrics(scores),
        level=Markdown(f"{100 * params.evaluate.confidence_level:g} %"),
        verdict=Markdown(": ".join(beside_baselines(scores))),
        labels=list(scores.get("per_class", ())),
        has_pipeline=problem.serve is None,
        samples=samples,
        then=Markdown(problem.served_then),
        arguments=Markdown(", ".join([json.dumps(example, ensure_ascii=False), *served_with])),
    )


def repeat(problem: Problem, folder: Path, test: pl.DataFrame, expected: pl.DataFrame) -> int:
    """Serve the package in a clean process; return of how many rows it answers what evaluate found.

    Raises InputError when it says something else of more rows than the problem allows.
    """
    given = problem.asked(folder, test, expected)
    # those of like length share a batch
    there = [row for row, its in enumerate(given) if its is not None]
    order = sorted(there, key=lambda row: len(str(given[row])), reverse=True)
    arguments = json.dumps(dict(problem.served_with))
    run = subprocess.run(  # noqa: S603 (our own interpreter and file, no shell)
        [sys.executable, "-I", str(problem.serve or serve.__file__), str(folder), problem.task, arguments],
        input=json.dumps([given[row] for row in order]),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        # a killed run leaves nothing behind; no thread is at work here that could hold a lock meanwhile
        preexec_fn=partial(end_with_parent, parent=os.getpid()),
        check=False,
    )
    if run.returncode:
        # a process that was killed says nothing
        last = (run.stderr.strip().splitlines() or [f"it ended with status {run.returncode}"])[-1]
        raise InputError(f"transformers cannot serve the package: {last}")
    predicted = expected.rows(named=True)
    others = 0
    for row, served in zip(order, json.loads(run.stdout), strict=True):
        # asked for what is right, so that NaN, which compares as false, is never taken for it
        if problem.agrees(served, predicted[row]):
            continue
        others += 1
        if others > problem.ties * len(order):
            found = {name: value for name, value in predicted[row].items() if name not in ("id", "actual")}
            says = f"the packaged model says {served} of row {test['id'][row][:12]}"
            raise InputError(f"{says} where evaluate found {found}; the package is not used")
    return len(order) - others
