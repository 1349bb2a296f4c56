"""What is said at the end of a run, and before one: on the terminal, in the Prefect UI, in certificates."""
