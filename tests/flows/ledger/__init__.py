"""Tests of flows/ledger/."""
