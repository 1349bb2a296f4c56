"""Load a packaged model with nothing but transformers and predict: inputs as a JSON list on standard input, predictions on standard output.

Run by path in a process of its own (`python -I tasks/package/serve.py FOLDER PIPELINE`), it imports nothing of this project: what it can
do, any user of the package can.
"""

import json
import sys


def main(folder: str, task: str) -> None:
    """Print a JSON list of {"label": ..., "score": ...}, one for each input."""
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    predict = pipeline(task, model=folder, batch_size=32, trust_remote_code=False)
    json.dump(predict(json.load(sys.stdin), truncation=True), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
