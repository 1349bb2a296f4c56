"""`python -m tasks.latency CANDIDATE OTHER ROWS MEDIA`: two digests of kept packages, a table, a folder."""

import json
import sys
from pathlib import Path

import polars as pl

from tasks.latency import latency
from tasks.shared import champions, slots
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.stage import end_with_parent

end_with_parent()
try:
    candidate, other, rows, media = sys.argv[1:]
    with disk_in_words(), slots.device("latency"):
        packages = [champions.fetch(digest) for digest in (candidate, other)]
        found = latency(packages, pl.read_parquet(rows), Path(media))
except InputError as error:
    found = {"error": str(error)}
print(json.dumps(found))
