"""Tests of flows/sweeps."""
