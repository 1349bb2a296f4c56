"""One matrix product where self-attention makes three of the same input: its queries, keys and values.

A larger product keeps both cores of a small machine busier, and its input is turned into bf16 once instead of three times.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import PreTrainedModel

NAMES = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q_lin", "k_lin", "v_lin"))  # of BERT, most others, DistilBERT


def join(model: PreTrainedModel) -> None:
    """Have a model's self-attention project its input once; its weights, config and state dict stay as they are.

    A model with cross-attention, whose keys and values come of another input, is left as it is.
    """
    if getattr(model.config, "is_encoder_decoder", False) or getattr(model.config, "add_cross_attention", False):
        return
    for module in list(model.modules()):
        for names in NAMES:
            layers = [getattr(module, name, None) for name in names]
            linear = [layer for layer in layers if type(layer) is nn.Linear]
            if len(linear) == len(names) and len({(layer.in_features, layer.bias is None) for layer in linear}) == 1:
                joint = Joint()
                for name, layer in zip(names, linear, strict=True):
                    setattr(module, name, JointLinear(layer, joint))


class Joint:
    """The linear layers that belong together, and what is made of the input that they were given last."""

    def __init__(self) -> None:
        self.layers: list[JointLinear] = []
        self.given: Tensor | None = None
        self.made: dict[JointLinear, Tensor] = {}

    def product(self, layer: "JointLinear", given: Tensor) -> Tensor:
        """Return what one layer makes of its input, making the others' products of it too unless that was done; each is handed out once."""
        if given is not self.given or layer not in self.made:
            weight = torch.cat([each.weight for each in self.layers])
            bias = None if layer.bias is None else torch.cat([each.bias for each in self.layers])
            products = torch.split(F.linear(given, weight, bias), [each.out_features for each in self.layers], dim=-1)
            self.given, self.made = given, dict(zip(self.layers, products, strict=True))
        product = self.made.pop(layer)
        if not self.made:
            self.given = None
        return product


class JointLinear(nn.Linear):
    """An nn.Linear, with the weight and bias of another, whose product is made together with those of its joint."""

    def __init__(self, layer: nn.Linear, joint: Joint) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.joint = joint
        joint.layers.append(self)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's own name
        """Project (..., in_features) to (..., out_features)."""
        return self.joint.product(self, input)
