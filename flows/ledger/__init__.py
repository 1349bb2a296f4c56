"""What has been computed, as DVC records it in dvc.lock, its cache and its run-cache. The only package that imports dvc."""

from flows.ledger.experiments import experiments, save, send
from flows.ledger.mend import mend
from flows.ledger.stages import Ledger, share_cache

__all__ = ["Ledger", "experiments", "mend", "save", "send", "share_cache"]
