"""Tests of tasks/evaluate/."""
