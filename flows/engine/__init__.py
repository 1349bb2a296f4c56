"""How a run works: its folder, its stages as Prefect tasks, and their processes."""
