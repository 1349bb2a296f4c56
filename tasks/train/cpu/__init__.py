"""Training on a CPU with less work, for the same model.

The same up to rounding, which random bits dropout draws, and the weight decay of embedding rows that never occur.
"""

from transformers import PreTrainedModel

from tasks.train.cpu import dropout, embeddings, first_token, projections

# what reaches into a model was tested on these alone; of any other kind only the dropout is made quick
TESTED = frozenset({"bert", "distilbert", "electra", "roberta", "xlm-roberta"})


def quicken(model: PreTrainedModel, token_ids: set[int]) -> None:
    """Have a model train faster on a CPU; its weights, config and state dict stay as they are.

    token_ids: those that training looks up in the token embedding; none when there is no such embedding.
    """
    dropout.quicken(model)
    if model.config.model_type not in TESTED:
        return
    projections.join(model)
    if token_ids:
        embeddings.narrow(model, token_ids)
        first_token.narrow(model)
