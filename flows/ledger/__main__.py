"""`python -m flows.ledger`: end with status 0 when no stage of the checkout in the current folder has anything to do, else with 1."""

import sys
from pathlib import Path

from flows.ledger import Ledger

if __name__ == "__main__":
    sys.exit(not Ledger(Path.cwd()).unchanged())
