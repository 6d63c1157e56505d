"""What Lightning is given for a run: batches of a store, one line of progress an epoch."""

import logging
from pathlib import Path

from lightning import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader

from handdgcl.config import Config
from handdgcl.data.loader import eval_batches, open_store, train_batches
from handdgcl.train.module import TrainingModule

log = logging.getLogger(__name__)


class StoreData(LightningDataModule):
    """Training and validation batches of one store; the order follows the seed and the epoch.

    Attributes:
        first_epoch: the one that training starts or goes on with.
    """

    def __init__(self, folder: Path, config: Config, seed: int, *, twins: bool = False):
        super().__init__()
        self.config, self.seed, self.first_epoch = config, seed, 0
        self.train, self.val = (open_store(folder / split, twins=twins) for split in ("train", "val"))

    def train_dataloader(self) -> DataLoader:
        """This rank's share of each epoch, from the epoch that training is to go on with."""
        loader = train_batches(
            self.train,
            batch_size=self.config.train.batch_size,
            seed=self.seed,
            settings=self.config.augment,
            images=self.config.train.images,
            workers=self.config.data.workers,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        # Lightning sets the epoch after loader processes have begun to draw from it.
        loader.batch_sampler.sampler.set_epoch(self.first_epoch)
        return loader

    def val_dataloader(self) -> DataLoader:
        """This rank's share of the validation samples."""
        return eval_batches(
            self.val,
            batch_size=self.config.train.batch_size,
            workers=self.config.data.workers,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )


class Progress(Callback):
    """One log line each epoch."""

    def on_train_epoch_start(self, trainer: Trainer, module: TrainingModule) -> None:
        """Say how the epoch before ended; its validation has ended too."""
        self.on_train_end(trainer, module)

    def on_train_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """Say how the last epoch ended."""
        if module.history and trainer.is_global_zero:
            last = module.history[-1]
            log.info(
                "%s, seed %d: epoch %d of %d, loss %.3f, validation MPJPE %.2f mm, %.0f s",
                *(module.row.name, module.seed, last["epoch"], trainer.max_epochs),
                *(last["train_loss"], last["val_mpjpe_mm"], last["seconds"]),
            )
