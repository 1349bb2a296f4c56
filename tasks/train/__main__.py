"""`python -m tasks.train`: the stage as dvc.yaml runs it, in one process or under torchrun."""

import os
from pathlib import Path

from tasks import problems
from tasks.shared import devices, slots
from tasks.shared.stage import stage
from tasks.train import launch, resume_folder, train

with stage("train") as params, slots.device("train"):
    devices.use_threads(params.train.num_threads)
    workers = int(os.environ.get("WORLD_SIZE", devices.processes(params.train.nproc_per_node)))
    if workers > 1 and "RANK" not in os.environ:
        launch(workers)
    else:
        tokens = Path("data/tokens")
        with resume_folder(params, tokens, workers) as resume:
            train(
                params.train,
                params.model,
                problems.load(params.problem),
                tokens,
                Path("models/checkpoint"),
                Path("metrics/train.json"),
                Path("plots/train"),
                resume,
            )
