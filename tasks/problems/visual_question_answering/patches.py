"""ViLT's patches in the order in which they stand in the picture.

Transformers shuffles them anew in each forward pass, picture by picture, because with `max_image_length` it
takes a random part of them. Attention does not know their order, so answers are the same but for rounding:
without it they are the same bits each time, and a small model's step takes less time. All pictures of a batch
are of one size here, so that none is padded.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def keep_order(model: "PreTrainedModel") -> None:
    """Have a ViLT embed each picture's patches in order; not one that is to see only some."""
    embeddings = model.vilt.embeddings
    if model.config.max_image_length > 0:
        return

    def visual_embed(pixel_values: "Tensor", *_: Any, **__: Any) -> "tuple[Tensor, Tensor, None]":
        """Return the class token and all patches (rows, 1 + patches, width), and that none is padding."""
        import torch

        patches = embeddings.patch_embeddings(pixel_values)
        height, width = patches.shape[2:]
        first = embeddings.cls_token.expand(len(patches), -1, -1)
        found = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
        found = embeddings.dropout(found + _positions(embeddings, height, width))
        mask = torch.ones(found.shape[:2], dtype=torch.long, device=found.device)
        return found, mask, None

    embeddings.visual_embed = visual_embed


def _positions(embeddings: Any, height: int, width: int) -> "Tensor":
    """Return the embedding of the class token's and each patch's place, (1, 1 + patches, width).

    Of pictures of another size than the model's, between those of the places around it, as transformers does.
    """
    import torch
    from torch.nn import functional

    known: Tensor = embeddings.position_embeddings
    side = embeddings.config.image_size // embeddings.config.patch_size
    if (height, width) == (side, side):
        return known
    square = known[:, 1:].transpose(1, 2).reshape(1, -1, side, side)
    square = functional.interpolate(square, size=(height, width), mode="bilinear", align_corners=True)
    return torch.cat([known[:, :1], square.flatten(2).transpose(1, 2)], dim=1)
