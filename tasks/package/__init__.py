"""Put together what leaves the house: the model, its card, where it comes from, and proof that it serves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from tasks import problems as problems
from tasks.package import serve
from tasks.problems import Problem
from tasks.shared import devices, keys
from tasks.shared import slots as slots
from tasks.shared.errors import InputError
from tasks.shared.files import digests, read_json, write_json
from tasks.shared.markup import plain
from tasks.shared.params import Params
from tasks.shared.stage import pins
from tasks.shared.stage import stage as stage
from tasks.shared.verdict import beside_baselines

SAME_SCORE = 1e-3  # other batches sum in another order


def package(params: Params, problem: Problem, checkpoint: Path, splits: Path, metrics: Path, predictions: Path, out: Path, report: Path) -> None:
    """Write a folder that `transformers.pipeline` loads: safetensors, tokenizer, config, README.md, provenance.json, MANIFEST.sha256.

    metrics: the folder with the earlier stages' JSON files. predictions: evaluate's predictions.csv, which the packaged model must
    repeat in a process of its own; raises InputError when it does not. The manifest is written last, so its existence proves the rest.
    """
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(checkpoint.iterdir()):
        shutil.copyfile(file, out / file.name)
    test = pl.read_parquet(splits / "test.parquet")
    scores = read_json(metrics / "evaluate.json")
    counts = read_json(metrics / "split.json")
    write_json(out / "provenance.json", provenance(params, splits, metrics))
    (out / "README.md").write_text(card(params, problem, scores, counts, problem.show(test)[0]), encoding="utf-8")
    repeat(problem, out, test, pl.read_csv(predictions, schema_overrides={"actual": pl.String, "predicted": pl.String}))
    (out / "MANIFEST.sha256").write_text("".join(f"{digest}  {name}\n" for name, digest in digests(out).items()), encoding="utf-8")
    size = sum(file.stat().st_size for file in out.iterdir())
    write_json(report, {"files": len(list(out.iterdir())), "megabytes": size / 1e6, "predictions_repeated": test.height})
    print(f"{out}: {size / 1e6:.1f} MB, repeats all {test.height} test predictions through transformers.pipeline")


def provenance(params: Params, splits: Path, metrics: Path) -> dict[str, Any]:
    """Return what decided the bytes (data, params, sources, pinned versions, device) and the scores they got."""
    scores = read_json(metrics / "evaluate.json")
    del scores["per_class"]
    return {
        "data": {"ingest": read_json(metrics / "ingest.json"), "splits": digests(splits)},
        "params": params.model_dump(),
        "sources": keys.sources(params.problem),
        "pins": pins(params.problem),
        "device": devices.describe(),
        "metrics": {"train": read_json(metrics / "train.json"), "evaluate": scores},
    }


CARD = """
# {name}

{base} fine-tuned for {task} on {train} rows and measured on {test} test rows that it never saw.

| | test | 95 % interval | TF-IDF + linear | majority |
|---|---|---|---|---|
{scores}

{verdict}.

Labels: {labels}.

```python
from transformers import pipeline

predict = pipeline("{task}", model="models/package")
predict({example}, truncation=True)
```

`provenance.json` names the data, params, sources, versions and device that decided these bytes; `sha256sum -c MANIFEST.sha256` checks them.
"""


def card(params: Params, problem: Problem, scores: dict[str, Any], counts: dict[str, Any], example: str) -> str:
    """Return the model card as Markdown, its model-index in front, as the hub reads it."""
    from huggingface_hub import EvalResult, ModelCardData

    dataset = Path(params.data.path).stem
    task = {"task_type": problem.task, "dataset_type": dataset, "dataset_name": dataset, "dataset_split": "test"}
    results = [EvalResult(**task, metric_type=name, metric_value=scores[name]) for name in ("accuracy", "macro_f1", "weighted_f1")]
    hub_name = params.model.name.count("/") == 1 and not Path(params.model.name).exists()
    head = ModelCardData(
        language=params.package.language,
        license=params.package.license,
        pipeline_tag=problem.task,
        library_name="transformers",
        base_model=params.model.name if hub_name else None,
        model_name=params.package.name,
        eval_results=results,
    )
    rows = []
    for name, (low, high) in scores["interval"].items():
        beside = (scores["baselines"][baseline].get(name) for baseline in ("tfidf_linear", "majority"))
        cells = [f"**{scores[name]:.4f}**", f"{low:.4f} to {high:.4f}", *("" if score is None else f"{score:.4f}" for score in beside)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    text = CARD.format(
        name=plain(params.package.name),
        base=plain(params.model.name),
        task=problem.task,
        train=counts["train"],
        test=scores["rows"],
        scores="\n".join(rows),
        verdict=": ".join(beside_baselines(scores)),
        labels=", ".join(plain(label) for label in scores["per_class"]),
        example=json.dumps(example, ensure_ascii=False),
    )
    return f"---\n{head}\n---\n{text}"


def repeat(problem: Problem, folder: Path, test: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Serve the package in a clean process; raise InputError unless it predicts what evaluate found."""
    by_length = test.with_columns(expected["predicted"], expected["confidence"], shown=pl.Series(problem.inputs(test)))
    by_length = by_length.sort(pl.col("shown").cast(pl.String).str.len_bytes(), descending=True)
    run = subprocess.run(  # noqa: S603 (our own interpreter and file, no shell)
        [sys.executable, "-I", serve.__file__, str(folder), problem.task],
        input=json.dumps(by_length["shown"].to_list()),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if run.returncode:
        raise InputError(f"transformers.pipeline cannot load the package: {run.stderr.strip().splitlines()[-1]}")
    for row, served in zip(by_length.iter_rows(named=True), json.loads(run.stdout), strict=True):
        # asked for what is right, so that NaN, which compares as false, is never taken for it
        same = row["predicted"] == served["label"] and abs(row["confidence"] - served["score"]) <= SAME_SCORE
        if not same:
            raise InputError(
                f"the packaged model says {served['label']} ({served['score']:.4f}) of row {row['id'][:12]} where evaluate "
                f"found {row['predicted']} ({row['confidence']:.4f}); the package is not used"
            )
