"""What reads the picture in a GIT from scratch, before all of it is read."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import GitConfig, GitVisionConfig


def beside(settings: "GitConfig", params: Any, side: int) -> "GitVisionConfig":
    """Return its config: of the width of what reads all, for pictures of so many pixels on each side."""
    from transformers import GitVisionConfig

    names = ("hidden_size", "num_attention_heads", "intermediate_size", "initializer_range")
    return GitVisionConfig(
        **{name: getattr(settings, name) for name in names},
        num_hidden_layers=params.vision_layers or settings.num_hidden_layers,
        image_size=side,
        patch_size=params.patch_size,
    )
