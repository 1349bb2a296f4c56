"""Tests of flows/registry."""
