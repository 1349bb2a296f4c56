"""Files of pictures and sounds that ingest has kept."""

from pathlib import Path

from tasks.shared.errors import InputError


def there(file: Path) -> Path:
    """Return a file that ingest has kept; raise InputError where it is gone."""
    if not file.exists():
        gone = f"{file} is gone, which ingest had kept"
        raise InputError(f"{gone}; run the same command again, and it comes back from the cache")
    return file
