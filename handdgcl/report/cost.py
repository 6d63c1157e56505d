"""What inference costs: weights, operations and time of each row's exported network (claim C7)."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils.flop_counter import FlopCounterMode

from handdgcl.evaluate import load_model
from handdgcl.evaluate.checkpoint import NETWORK, Trained
from handdgcl.model.network import HandDGCL

ROUNDS = 30


class Inference(nn.Module):
    """Image `[B, 3, S, S]` → both hands `[B, H, V, 3]` metres: what is left of the method in use."""

    def __init__(self, network: HandDGCL):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        return self.network(image).metric_vertices()


def export_network(trained: Trained) -> ExportedProgram:
    """A trained row as a program of PyTorch's own operations, for one image; needs none of our code."""
    side = trained.config.data.image_size
    return torch.export.export(
        Inference(trained.network).eval(), (torch.zeros(1, 3, side, side, dtype=torch.uint8),)
    )


def inference_cost(checkpoints: dict[str, Path]) -> pd.DataFrame:
    """Export each row and count its weights and operations; time one image's pass on the CPU, rows in turn.

    Args:
        checkpoints: row -> one of its checkpoints.

    Returns:
        row, weights (numbers in the exported program), training_only_weights (numbers in the checkpoint
        that it does not hold), mflop (millions of floating-point operations of matrix products and
        convolutions, for one image), milliseconds (of processor time, median of 30 passes of one image).

    Raises:
        InputError: a checkpoint cannot be read.
    """
    trained = {row: load_model(path) for row, path in checkpoints.items()}
    programs = {row: export_network(model) for row, model in trained.items()}
    passes = {row: program.module() for row, program in programs.items()}
    images = {row: program.example_inputs[0][0] for row, program in programs.items()}
    times = {row: [] for row in trained}
    for _ in range(ROUNDS + 1):  # in turn, so that a busy moment meets all rows
        for row, run in passes.items():
            times[row].append(_milliseconds(run, images[row]))
    lines = [
        {
            "row": row,
            "weights": sum(program.state_dict[name].numel() for name in _parameters(program)),
            "training_only_weights": sum(
                value.numel()
                for key, value in trained[row].info["weights"].items()
                if not key.startswith(NETWORK)
            ),
            "mflop": _operations(passes[row], images[row]) / 1e6,
            "milliseconds": float(np.median(times[row][1:])),  # the first pass warms up
        }
        for row, program in programs.items()
    ]
    return pd.DataFrame(lines)


def _parameters(program: ExportedProgram) -> tuple[str, ...]:
    return tuple(program.graph_signature.parameters)


def _operations(run: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        run(image)
    return counter.get_total_flops()


@torch.inference_mode()
def _milliseconds(run: nn.Module, image: Tensor) -> float:
    """Processor time of one forward pass."""
    start = time.process_time()
    run(image)
    return 1000 * (time.process_time() - start)
