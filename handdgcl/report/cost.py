"""What inference costs: the weights and the time of each row's network, from its checkpoint (claim C7)."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from handdgcl.evaluate import load_model
from handdgcl.evaluate.checkpoint import NETWORK, Trained

ROUNDS = 30


def inference_cost(checkpoints: dict[str, Path]) -> pd.DataFrame:
    """Count weights and time one image's forward pass on the CPU, rows in turn.

    Args:
        checkpoints: row -> one of its checkpoints.

    Returns:
        row, weights (numbers in the network that inference runs), training_only_weights (numbers in the
        checkpoint that it does not load), milliseconds (of processor time, median of 30 passes of one image).

    Raises:
        InputError: a checkpoint cannot be read.
    """
    trained = {row: load_model(path) for row, path in checkpoints.items()}
    times = {row: [] for row in trained}
    for _ in range(ROUNDS + 1):  # in turn, so that a busy moment meets all rows
        for row, model in trained.items():
            times[row].append(_milliseconds(model))
    lines = [
        {
            "row": row,
            "weights": sum(p.numel() for p in model.network.parameters()),
            "training_only_weights": sum(
                value.numel() for key, value in model.info["weights"].items() if not key.startswith(NETWORK)
            ),
            "milliseconds": float(np.median(times[row][1:])),  # the first pass warms up
        }
        for row, model in trained.items()
    ]
    return pd.DataFrame(lines)


@torch.inference_mode()
def _milliseconds(model: Trained) -> float:
    """Processor time of one forward pass of one image."""
    side = model.config.data.image_size
    image = torch.zeros(1, 3, side, side)
    start = time.process_time()
    model.network(image)
    return 1000 * (time.process_time() - start)
