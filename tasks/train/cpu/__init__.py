"""Training on a CPU with less work, for the same model.

The same up to rounding, which random bits dropout draws, and the weight decay of embedding rows that
never occur.
"""

from transformers import Trainer

from tasks.train.cpu import dropout, embeddings, first_token, projections, tested


def quicken(trainer: Trainer) -> str:
    """Have a trainer's model train faster on a CPU; its weights, config and state dict stay as they are.

    Every model gets the quick dropout. The shortcuts are only for trainings like those that they were
    tested with; returns why any other goes without, and nothing for those.
    """
    model = trainer.model
    other = tested.why_not(trainer)
    dropout.quicken(model)
    if other:
        return other
    projections.join(model)
    embeddings.narrow(model, embeddings.occurring(trainer.train_dataset, trainer.data_collator.tokenizer))
    first_token.narrow(model)
    return ""
