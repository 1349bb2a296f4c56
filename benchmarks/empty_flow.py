"""A Prefect flow that does nothing."""

from prefect import flow  # noqa: TID251 (what we are measured against)


@flow
def empty() -> None:
    """Do nothing."""


if __name__ == "__main__":
    empty()
