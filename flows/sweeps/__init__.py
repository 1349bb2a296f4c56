"""Sweeps: what is searched, the study that says what to try next, and what came of the trials."""
