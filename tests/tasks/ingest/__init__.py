"""Tests of tasks/ingest/."""
