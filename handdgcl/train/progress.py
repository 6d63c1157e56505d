"""What training says while it runs."""

import logging
import time

from lightning import Callback, Trainer

from handdgcl.train.module import TrainingModule

log = logging.getLogger(__name__)

REPORT_EVERY_S = 30


class Progress(Callback):
    """One log line each epoch, and one every half minute of a long epoch."""

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        """Start the clock."""
        self.start = self.reported = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: TrainingModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Say where a long epoch stands."""
        if time.monotonic() - self.reported > REPORT_EVERY_S:
            self.reported = time.monotonic()
            log.info(
                "%s: batch %d of %d",
                self._place(trainer, module),
                batch_idx + 1,
                trainer.num_training_batches,
            )

    def on_train_epoch_start(self, trainer: Trainer, module: TrainingModule) -> None:
        """Say how the epoch before ended."""
        self._last(trainer, module)

    def on_train_end(self, trainer: Trainer, module: TrainingModule) -> None:
        """Say how the last epoch ended."""
        self._last(trainer, module)

    def _place(self, trainer: Trainer, module: TrainingModule) -> str:
        epoch = min(trainer.current_epoch + 1, trainer.max_epochs)
        return f"{module.row.name}, seed {module.seed}: epoch {epoch} of {trainer.max_epochs}"

    def _last(self, trainer: Trainer, module: TrainingModule) -> None:
        if not module.history:
            return
        last = module.history[-1]
        log.info(
            "%s, seed %d: epoch %d of %d done, loss %.3f, validation MPJPE %.2f mm, %.0f s",
            module.row.name,
            module.seed,
            last["epoch"],
            trainer.max_epochs,
            last["train_loss"],
            last["val_mpjpe_mm"],
            time.monotonic() - self.start,
        )
