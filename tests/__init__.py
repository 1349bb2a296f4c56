"""What holds: a test file per module, and end-to-end tests of the real thing."""
