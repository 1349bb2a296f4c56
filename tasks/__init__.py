"""What each stage does: files in, files out. Knows nothing of Prefect or DVC."""
