"""What a step is said to take is what autograd keeps, roughly, for encoders and decoders, with dropout and without."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from tasks.shared.params import Train
from tasks.train.size import MB, measured

ROWS, WORDS = 2, 1000
LLAMA = {"model_type": "llama", "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4}
BERT = {"model_type": "bert", "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4}
GPT2 = {"model_type": "gpt2", "n_embd": 192, "n_layer": 4, "n_head": 6, "bos_token_id": 1, "eos_token_id": 1}


def saved(model: torch.nn.Module, inputs: dict[str, Any], *, is_half: bool) -> int:
    """Return how many bytes autograd keeps for the backward pass, weights apart."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        loss = model(**inputs).loss
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("length", [64, 256])
@pytest.mark.parametrize("its", [LLAMA, BERT, GPT2], ids=["llama", "bert", "gpt2"])
def test_what_activations_take_is_said_within_a_factor_of_two(
    its: dict[str, Any], length: int, precision: str
) -> None:
    more = {"vocab_size": WORDS, **({} if its is GPT2 else {"num_attention_heads": 6})}
    config = AutoConfig.for_model(**{**its, **more})
    head = AutoModelForSequenceClassification if its is BERT else AutoModelForCausalLM
    torch.manual_seed(0)
    model = head.from_config(config).train()
    ids = torch.randint(0, WORDS, (ROWS, length))
    mask = torch.ones_like(ids)
    mask[1, length // 2 :] = 0
    labels = torch.tensor([0, 1]) if its is BERT else ids
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    found = saved(model, inputs, is_half=precision == "bf16")
    params = Train(per_device_train_batch_size=ROWS)
    said = measured(model, params, precision, length)["memory_mb"]["activations"] * MB
    assert found / 2 < said < found * 2
