"""`python -m tasks.train`: the stage as dvc.yaml runs it, in one process or under torchrun."""

import os

from tasks import problems
from tasks.shared import devices, slots, tracking
from tasks.shared.paths import Paths
from tasks.shared.stage import stage
from tasks.train import launch, resume_folder, train

with stage("train") as params, slots.device("train"):
    devices.use_threads(params.train.num_threads)
    workers = int(os.environ.get("WORLD_SIZE", devices.processes(params.train.nproc_per_node)))
    if workers > 1 and "RANK" not in os.environ:
        launch(workers)
    else:
        with (
            resume_folder(params, Paths(), workers) as resume,
            tracking.training(params, resume.name) as journal,
        ):
            train(
                params.train,
                params.model,
                problems.load(params.problem, params.own),
                Paths(),
                resume,
                journal,
            )
            journal.made(Paths())
