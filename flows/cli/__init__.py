"""The `retrain` command: the app, and what its commands have in common."""
