"""The states that an interrupted training goes on from: whole files of tensors and plain values."""

import logging
from pathlib import Path
from zipfile import ZipFile

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from handdgcl.files import replacing
from handdgcl.train.module import TrainingModule

LAST, BEST = "last.ckpt", "best.ckpt"
IDENTITY = "identity"

log = logging.getLogger(__name__)


class States(Checkpoint):
    """Keep the newest state and that of the best epoch, from before the first step on.

    The best epoch is read from the curves that are in the state: unlike Lightning's own, it is the same after
    the folder was moved.
    """

    def __init__(self, folder: Path, identity: str):
        self.folder, self.identity = folder, identity

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        """Write the first state, unless this run goes on; all processes save together."""
        if not module.history:
            trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def on_train_epoch_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """Write the epoch's; the best one first, so that an interruption between them repeats the epoch."""
        errors = [record["val_mpjpe_mm"] for record in module.history]
        if errors[-1] <= min(errors):
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def on_save_checkpoint(self, trainer: Trainer, module: TrainingModule, checkpoint: dict) -> None:
        """Say whose state it is."""
        checkpoint[IDENTITY] = self.identity


class WholeFiles(TorchCheckpointIO):
    """A state is written beside and renamed, on one file system, and reading it runs no code of its own."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options: object = None) -> None:
        """Write a state.

        Raises:
            InputError: no space, or no permission; the older state stays.
        """
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: str | Path, *_: object, **__: object) -> dict:
        """Read a state."""
        return read_state(path)


def read_state(path: str | Path) -> dict:
    """A state's tensors and plain values; anything else in it, and a damaged copy, is refused."""
    with ZipFile(path) as file:  # torch writes checksums and does not compare them
        if damaged := file.testzip():
            raise ValueError(f"{damaged} is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


def usable_state(folder: Path, identity: str) -> dict | None:
    """The newest state, where it and the best one can be read and are this run's; None starts anew."""
    if not (folder / LAST).exists():
        return None
    try:
        last = read_state(folder / LAST)
        parts = [last] + ([read_state(folder / BEST)] if last["history"] else [])
        if all(part[IDENTITY] == identity for part in parts):
            return last
        reason = "it is another run's"
    except Exception as error:  # torch.load, of what is no state, raises whatever its bytes lead to
        reason = str(error).partition("\n")[0] or type(error).__name__
    log.warning("%s: the state cannot be used (%s); training starts anew", folder / LAST, reason)
    return None
