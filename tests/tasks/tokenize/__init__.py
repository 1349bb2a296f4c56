"""Tests of tasks/tokenize/."""
