"""What every stage may import."""

import os

# OpenMP's threads wait for each other by spinning for milliseconds. Where anything else computes, those that
# they wait for get no core meanwhile, and a training takes three to ten times as long. Read when torch loads.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
