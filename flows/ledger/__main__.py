"""`python -m flows.ledger`: end with status 0 when no stage has anything to do or to send, else with 1.

The stages are those of the checkout in the current folder. For a run that holds the checkout's lock:
torn state is mended first, as when the run itself opens the ledger.
"""

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from flows.ledger.stages import Ledger
from flows.ledger.torn import repair_torn
from tasks.shared.errors import DiskError, disk_in_words

if __name__ == "__main__":
    say = partial(print, file=sys.stderr, flush=True)
    with suppress(DiskError), disk_in_words():
        repair_torn(Path.cwd(), say)
        ledger = Ledger(Path.cwd(), say=say)
        sys.exit(not (ledger.unchanged() and ledger.all_pushed()))
    # the run meets the same, and says it
    sys.exit(1)
