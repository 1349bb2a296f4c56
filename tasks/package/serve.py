"""Load a packaged model with nothing but transformers and predict.

Inputs as a JSON list on standard input, predictions on standard output. Run by path in a process of its own
(`python -I tasks/package/serve.py FOLDER PIPELINE ARGUMENTS`), it imports nothing of this project: what it
can do, any user of the package can. ARGUMENTS: what the pipeline is called with beside rows, as JSON.
"""

import json
import sys


def main(folder: str, task: str, arguments: str) -> None:
    """Print a JSON list of what the pipeline answers, one for each input."""
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    predict = pipeline(task, model=folder, batch_size=32, trust_remote_code=False)
    # what is a number of numpy is one of JSON too
    json.dump(predict(json.load(sys.stdin), **json.loads(arguments)), sys.stdout, default=float)


if __name__ == "__main__":
    main(*sys.argv[1:])
