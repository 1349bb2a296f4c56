"""How many trials a sweep may have, and how long it may begin more of them."""

TRIALS, MINUTES = 10_000, 1e6
