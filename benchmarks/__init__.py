"""Programs that measure us beside what users would pick instead."""
