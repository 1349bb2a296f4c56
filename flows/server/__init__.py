"""Prefect's server, workers, deployments and automations, and which server a command talks to."""
