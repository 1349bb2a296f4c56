"""Tests of flows/engine/."""
