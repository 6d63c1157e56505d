"""One process of a training by several: python one_rank.py CONFIG STORE OUT still|whole|cut."""

import json
import os
import sys
from pathlib import Path

import torch

from handdgcl.config import load_config
from handdgcl.train import run
from handdgcl.train.module import TrainingModule

CONFIG, STORE, OUT = map(Path, sys.argv[1:4])
MODE = sys.argv[4]


class Watched(run.FirstState):
    """Leaves what this process ends with.

    still: batch normalisation by running statistics, as its batch's are those of one process.
    cut: dies within the second epoch.
    """

    def on_train_batch_start(self, trainer, module: TrainingModule, batch, batch_idx):
        if MODE == "still":
            module.network.encoder.eval()
        if MODE == "cut" and (module.current_epoch, batch_idx) == (1, 1):
            os._exit(3)

    def on_train_end(self, trainer, module: TrainingModule):
        rank = trainer.global_rank
        torch.save(module.contrastive.queue.state_dict(), OUT / f"queue-{rank}.pt")
        values = [{k: v for k, v in line.items() if k != "seconds"} for line in module.history]
        (OUT / f"history-{rank}.json").write_text(json.dumps(values))


torch.set_num_threads(1)
run.FirstState = Watched
config = load_config(CONFIG)
run.train_row("similarity", 3, config, store=STORE, out=OUT, work=OUT / "work", root=OUT)
