"""`python -m tasks.train`: the stage as dvc.yaml runs it, and as torchrun runs it in each process."""

from tasks.shared import devices, slots
from tasks.shared.stage import stage
from tasks.train import launching

with stage("train") as params, slots.device("train", params):
    devices.use_threads(params.train.num_threads)
    launching.start(params)
