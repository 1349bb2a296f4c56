"""Tests of tasks/problems/."""
