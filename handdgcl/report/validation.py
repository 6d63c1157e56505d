"""Two trained rows on the validation split, sample by sample: what one seed's difference is worth."""

from pathlib import Path

import numpy as np
import torch

from handdgcl.data.batch import finish
from handdgcl.data.loader import eval_batches, open_store
from handdgcl.evaluate import load_model
from handdgcl.evaluate.run import BATCH, sample_errors

NOISE_FACTOR = 2  # standard errors that a difference must reach


def validation_difference(checkpoint: Path, other: Path, store: Path) -> tuple[float, float]:
    """MPJPE of one checkpoint minus another's, mean over the validation samples, and its noise, mm.

    The noise is twice the standard error of the samples' paired differences. It knows nothing of other
    seeds, so a difference above it need not hold for another one.

    Args:
        checkpoint, other: two trained rows.
        store: the folder with the store val/.

    Raises:
        InputError: a checkpoint or the store cannot be read.
    """
    difference = validation_errors(checkpoint, store) - validation_errors(other, store)
    return float(difference.mean()), noise_of(difference)


def noise_of(difference: np.ndarray) -> float:
    """Twice the standard error of the mean of paired differences `[n]`, in their unit."""
    return float(NOISE_FACTOR * difference.std(ddof=1) / np.sqrt(len(difference)))


@torch.inference_mode()
def validation_errors(checkpoint: Path, store: Path) -> np.ndarray:
    """MPJPE of each validation sample, mean of both hands, `[n]` mm."""
    network, hands, _, _ = load_model(checkpoint)
    errors = []
    for raw in eval_batches(open_store(store / "val"), batch_size=BATCH, workers=0):
        batch = finish(raw, hands)
        errors.append(sample_errors(network(batch.image), batch, hands)["mpjpe_mm"].mean(1))
    return torch.cat(errors).numpy()
