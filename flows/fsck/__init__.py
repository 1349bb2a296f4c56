"""The DVC cache hashed again, and mended."""
