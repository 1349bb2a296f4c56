"""`python -m flows.ledger`: end with status 0 when no stage of the checkout in the current folder has anything to do or to send, else with 1."""

import sys
from pathlib import Path

from flows.ledger import Ledger

if __name__ == "__main__":
    ledger = Ledger(Path.cwd())
    sys.exit(not (ledger.unchanged() and ledger.all_sent()))
