"""What has been computed, as DVC records it in dvc.lock, its cache and its run-cache. The only package that imports dvc."""

import flows.ledger.nesting  # noqa: F401 (before anything of DVC's reads YAML)
from flows.ledger.check import check
from flows.ledger.comparison import Compared, bring_data, changed_key, clear, compare
from flows.ledger.experiments import commit_named, experiments, save, send
from flows.ledger.garbage import Garbage, collect
from flows.ledger.imports import bring_in, content_of_source, refuse_changed_data, take_in_newer
from flows.ledger.mend import mend, roll_back
from flows.ledger.stages import Ledger, share_cache
from flows.ledger.under_way import UnderWay

__all__ = [
    "Compared",
    "Garbage",
    "Ledger",
    "UnderWay",
    "bring_data",
    "bring_in",
    "changed_key",
    "check",
    "clear",
    "collect",
    "commit_named",
    "compare",
    "content_of_source",
    "experiments",
    "mend",
    "refuse_changed_data",
    "roll_back",
    "save",
    "send",
    "share_cache",
    "take_in_newer",
]
