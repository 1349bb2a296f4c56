"""Tests of flows/fsck/."""
