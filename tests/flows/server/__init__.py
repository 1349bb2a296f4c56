"""Tests of flows/server/."""
