"""Tests of tasks/split/."""
