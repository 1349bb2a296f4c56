"""The DVC cache hashed again, and repaired."""
