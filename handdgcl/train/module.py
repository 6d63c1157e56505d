"""One row as a Lightning module: the network, and what is only there in training."""

import time

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed

from handdgcl.config import Config
from handdgcl.data.batch import DrawnBatch, HandBatch, RawBatch, augment, with_joints
from handdgcl.data.loader import evenly
from handdgcl.families import Learned, build_network
from handdgcl.hands import Hands
from handdgcl.model.contrast import full_precision, monitors
from handdgcl.model.dgclnet import DGCLNet
from handdgcl.model.disturb import Generated
from handdgcl.model.losses import Target, reconstruction_terms, target_of, weights
from handdgcl.model.metrics import Points, concatenate, position_errors
from handdgcl.model.network import GraphSide
from handdgcl.rows import Row, rate, strength

MONITORED = 512  # validation images whose features are looked at


def build_dgclnet(row: Row, config: Config, side: GraphSide) -> DGCLNet | None:
    """A row's second branch and its losses; None for a row that has neither."""
    if not row.terms:
        return None
    disturbance = None
    if row.disturbance:
        sizes = {"features": side.features, "settings": config.unet} if row.disturbance is Generated else {}
        disturbance = row.disturbance(strength(row, config), **sizes)
    dtype = torch.float32 if config.train.precision == "32-true" else torch.bfloat16
    return DGCLNet(disturbance, row.terms, side, config.contrast, dtype)


class TrainingModule(LightningModule):
    """Training of one row with one seed.

    Rows are paired: order, augmentation and the initial weights of all shared modules depend on the
    seed alone.
    """

    def __init__(self, row: Row, config: Config, hands: Hands, *, seed: int):
        super().__init__()
        self.row, self.config, self.seed = row, config, seed
        self.hands = hands
        with torch.random.fork_rng(devices=[]):  # a GPU's state would start it in a process that may fork
            torch.random.default_generator.manual_seed(seed)
            self.network = build_network(row, config, hands)
            torch.random.default_generator.manual_seed(seed)
            self.dgclnet = build_dgclnet(row, config, self.network.graph_side) if row.terms else None
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, Tensor] = {}
        self._shares: dict[str, Tensor] = {}
        self._validation: dict[str, Tensor] = {}
        self._errors: list[dict[str, Tensor]] = []
        self._features: list[tuple[Tensor, ...]] = []

    def random(self, step: int) -> torch.Generator:
        """The disturbance's generator in a step; a resumed run draws what an uninterrupted one would."""
        numbers = np.random.SeedSequence((self.seed, step, self.global_rank))
        return torch.Generator().manual_seed(int(numbers.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, drawn: DrawnBatch, batch_idx: int) -> Tensor:
        """The weighted loss of eq. 7."""
        family = self.row.family
        with full_precision(self.device):
            batch = augment(drawn, self.hands, vertices_2d=bool(family))
            target = target_of(batch)
        learn = self.network.learn if family else self._learn
        learned = learn(batch, target, self.hands)
        with full_precision(self.device):
            terms = reconstruction_terms(learned.output, learned.output.joints_of(self.hands), target)
        weight = weights(self.config.loss) | (self.network.WEIGHTS if family else {})
        main = sum(weight[name] * term for name, term in terms.items())
        extra = {name: weight[name] * term for name, term in learned.terms.items()}
        loss = main + sum(extra.values())
        if batch_idx + 1 == self.trainer.num_training_batches:
            self._shares = gradient_shares(learned.feature, main, extra)
        for name, value in ({"loss": loss} | terms | learned.terms).items():
            self._sums.setdefault(name, torch.zeros((), device=loss.device)).add_(value.detach())
        return loss

    def _learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """HandDGCL's, as `learn` of a family's network."""
        side = self.network.graph_side
        feature = self.network.encoder(batch.image)
        G = side.graph(feature)
        if self.dgclnet is None:
            G_k, terms = side.gcn(G), {}
        else:
            generator = self.random(self.global_step)
            self._compared = self.dgclnet(side, feature, G, target.joints, batch.index, generator)
            G_k, terms = self._compared.G_k, self._compared.terms
        return Learned(feature, self.network.decode(G, G_k, batch.image.shape[-1]), terms)

    def on_train_batch_end(self, outputs: object, batch: DrawnBatch, batch_idx: int) -> None:
        """After the step this batch becomes negatives of the next ones."""
        if self.dgclnet is not None:
            self.dgclnet.after_step(self._compared, self.network.graph_side)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self) -> None:
        """The epoch's mean of every term; the paper's schedule follows `train_loss`."""
        count = self.trainer.num_training_batches
        mean = self.trainer.strategy.reduce  # over processes
        record = {f"train_{name}": mean(value / count) for name, value in self._sums.items()}
        record |= {f"share_{name}": mean(value) for name, value in self._shares.items()}
        self._sums, self._shares = {}, {}
        self.log_dict(record)
        self.history.append(
            {
                "epoch": self.current_epoch + 1,
                "step": self.global_step,
                "seconds": time.monotonic() - self._start,
                "lr": self.optimizers().param_groups[0]["lr"],
            }
            | {name: float(value) for name, value in (record | self._validation).items()}
        )
        if self.config.train.schedule == "plateau":
            self.lr_schedulers().step(record["train_loss"])

    def lr_scheduler_step(self, scheduler: object, metric: float | None) -> None:
        """One cycle's. Of the halving Lightning would think after the epoch's state is saved, too late."""
        if self.config.train.schedule != "plateau":
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Keep the curves with the state, so that a resumed run writes whole ones."""
        checkpoint |= {"row": self.row.name, "seed": self.seed, "history": self.history}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """The inverse of `on_save_checkpoint`."""
        self.history = checkpoint["history"]

    def on_validation_start(self) -> None:
        """All processes validate with the first one's batch normalisation, so that they agree on the best."""
        if self.trainer.world_size > 1:
            for buffer in self.network.encoder.buffers():
                distributed.broadcast(buffer, src=0)

    def validation_step(self, raw: RawBatch, batch_idx: int) -> None:
        """Errors of every sample, and the features of an even share of this process's."""
        with full_precision(self.device):
            batch = with_joints(raw, self.hands)
        output = self.network(batch.image)
        with full_precision(self.device):
            errors = position_errors(output.points(self.hands), Points(batch.vertices, batch.joints))
        self._errors.append({n: errors[n] for n in ("mpjpe_mm", "mpvpe_mm", "mrrpe_mm") if n in errors})
        kept = self._monitored(batch_idx, len(batch.index))
        if output.graph_k is None or not kept:  # of many images most batches have none
            return
        features = [output.graph_k[kept], batch.joints[kept]]
        if self.dgclnet is not None and self.dgclnet.disturbance is not None:
            G, side = output.graph[kept], self.network.graph_side
            G_hat, _ = self.dgclnet.disturbance(G, side.adjacency, self.random(batch_idx))
            features += [G, G_hat]
        self._features.append(tuple(features))

    def _monitored(self, batch_idx: int, count: int) -> list[int]:
        """Which of a validation batch's samples are looked at: an even share, at most `MONITORED` in all."""
        size = self.config.train.batch_size
        total = self.trainer.num_val_batches[0] * size  # about; the last batch may be smaller
        chosen = evenly(total, min(total, MONITORED)) - batch_idx * size
        return chosen[(chosen >= 0) & (chosen < count)].tolist()

    def on_validation_epoch_end(self) -> None:
        """Means over samples, and the monitors of the features of networks that have G_k."""
        errors = concatenate(self._errors)
        features = [torch.cat(part) for part in zip(*self._features, strict=True)]
        self._errors, self._features = [], []
        total = lambda value: self.trainer.strategy.reduce(value, reduce_op="sum")  # over processes
        count = total(torch.tensor(float(len(errors["mpjpe_mm"])), device=self.device))
        record = {f"val_{name}": total(value.sum(0)) / count for name, value in errors.items()}
        # The first process's share is an even one of all, and all agree on the best epoch.
        if features:
            found = {name: value.cpu() for name, value in monitors(*features).items()}
            record |= self.trainer.strategy.broadcast(found)
        self._validation = {name: value.mean().float() for name, value in record.items()}
        self.log_dict(self._validation)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; the paper's halving on a plateau of the training loss, or one cycle for short runs."""
        settings, lr = self.config.train, rate(self.row, self.config)
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
        if settings.schedule == "plateau":
            # The 4th epoch in a row that gains less than 1e-4 halves the rate (section 4.1).
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.5, patience=3, threshold=1e-4, threshold_mode="abs", min_lr=1e-6
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "train_loss"}}
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, lr, total_steps=int(self.trainer.estimated_stepping_batches), pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def gradient_shares(feature: Tensor, main: Tensor, extra: dict[str, Tensor]) -> dict[str, Tensor]:
    """How strongly each weighted term pulls at the encoder, beside the terms that every row has.

    Args:
        feature: `[B, C]`, the encoder's output.
        main: the weighted sum of the terms of every row.
        extra: the other weighted terms.

    Returns:
        name -> length of the term's gradient at the feature over the main one's; no term that does not reach
        it.
    """
    pull = lambda term: torch.autograd.grad(term, feature, retain_graph=True, allow_unused=True)[0]
    whole = pull(main).float().norm().clamp(min=1e-12)
    pulls = {name: pull(term) for name, term in extra.items()}
    return {name: value.float().norm() / whole for name, value in pulls.items() if value is not None}
