"""Tests of tasks/train/."""
