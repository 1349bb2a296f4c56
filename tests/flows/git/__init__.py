"""Tests of flows/git/."""
