"""The model in production: versions, who has a stage, and what it takes to win it; Git tags, no server."""
