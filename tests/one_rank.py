"""One process of a training by several, as torchrun starts it: python one_rank.py CONFIG STORE OUT."""

import sys
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from handdgcl.config import load_config
from handdgcl.train import run
from handdgcl.train.module import TrainingModule

CONFIG, STORE, OUT = map(Path, sys.argv[1:])


class FixedNorms(Callback):
    """Batch normalisation by running statistics: its batch's are those of one process."""

    def __init__(self, file: Path):
        """It takes the place of the callback that keeps the state before the first step."""

    def on_train_batch_start(self, trainer, module: TrainingModule, batch, batch_idx):
        module.network.encoder.eval()

    def on_train_end(self, trainer, module: TrainingModule):
        torch.save(module.contrastive.queue.state_dict(), OUT / f"queue-{trainer.global_rank}.pt")


torch.set_num_threads(1)
run.FirstState = FixedNorms
config = load_config(CONFIG)
run.train_row("similarity", 3, config, store=STORE, out=OUT, work=OUT / "work", root=OUT)
