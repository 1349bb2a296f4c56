"""What retrain asks of Git: commands, refs and worktrees. Importing it costs no import of DVC."""
