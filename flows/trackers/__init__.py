"""Telling trackers how training goes: a process per tool, started by the stage that has something to tell."""
