"""What has been computed, as DVC records it in dvc.lock, its cache and its run-cache. The only package that imports dvc."""

from flows.ledger.check import check
from flows.ledger.comparison import Compared, bring_data, changed_key, clear, compare
from flows.ledger.experiments import experiments, save, send
from flows.ledger.mend import mend
from flows.ledger.stages import Ledger, refuse_changed_data, share_cache

__all__ = [
    "Compared",
    "Ledger",
    "bring_data",
    "changed_key",
    "check",
    "clear",
    "compare",
    "experiments",
    "mend",
    "refuse_changed_data",
    "save",
    "send",
    "share_cache",
]
