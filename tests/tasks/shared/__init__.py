"""Tests of tasks/shared/."""
