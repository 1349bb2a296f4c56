"""The section `engine` of params.yaml."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section

# what computes the shards of stages
EngineName = Literal["local", "ray"]
# of a Ray cluster: a name or an IPv4 address, and a port
ADDRESS = r"^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]{1,5}$"


class Engine(Section):
    """Where shards of stages are computed. No stage depends on it, and no bit of any output."""

    name: EngineName = Field(
        "local", description="local: by the stage's own process; ray: by the nodes of a Ray cluster."
    )
    address: str | None = Field(
        None,
        pattern=ADDRESS,
        description="HOST:PORT of the cluster's head; empty: the cluster that this machine is a node of.",
    )
    use_gpu: bool = Field(False, description="Whether each training process and shard has a GPU of a node.")
