"""One process of a training by several: python one_rank.py CONFIG OUT still|whole|cut, in the project."""

import json
import os
import sys
from pathlib import Path

import torch

from handdgcl.config import load_config
from handdgcl.project import Project
from handdgcl.train import run
from handdgcl.train.module import TrainingModule

CONFIG, OUT = map(Path, sys.argv[1:3])
MODE = sys.argv[3]


class Watched(run.States):
    """Leaves what this process ends with.

    still: batch normalisation by running statistics, as its batch's are those of one process.
    cut: dies within the second epoch.
    """

    def on_train_start(self, trainer, module: TrainingModule):
        super().on_train_start(trainer, module)
        (OUT / f"began-{trainer.global_rank}").write_text(str(len(module.history)))

    def on_train_batch_start(self, trainer, module: TrainingModule, batch, batch_idx):
        if MODE == "still":
            module.network.encoder.eval()
        if MODE == "cut" and (module.current_epoch, batch_idx) == (1, 1):
            os._exit(3)

    def on_train_end(self, trainer, module: TrainingModule):
        rank = trainer.global_rank
        torch.save(module.dgclnet.queue.state_dict(), OUT / f"queue-{rank}.pt")
        values = [{k: v for k, v in line.items() if k != "seconds"} for line in module.history]
        (OUT / f"history-{rank}.json").write_text(json.dumps(values))


torch.set_num_threads(1)
run.States = Watched
config = load_config(CONFIG)
os.chdir(OUT)
run.train_row("similarity", 3, Project(config))
