"""One row of Table 2 as a Lightning module: the network, and what is only there in training."""

import time

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from handdgcl.config import Config
from handdgcl.data.augment import DrawnBatch, augment
from handdgcl.data.batch import RawBatch, finish
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, JOINT_COUNT
from handdgcl.model.contrast import (
    MomentumKeys,
    Predictor,
    Queue,
    cross_contrast,
    embed,
    embed_pose,
    monitors,
    self_contrast,
)
from handdgcl.model.disturb import build_disturbance
from handdgcl.model.graph import chebyshev_basis
from handdgcl.model.losses import Target, consistent, reconstruction_terms, target_of, total
from handdgcl.model.metrics import Points, concatenate, position_errors
from handdgcl.model.network import GraphSide, HandDGCL, HandLinear
from handdgcl.rows import Row

MONITORED = 512  # validation images whose features are looked at


class Contrastive(nn.Module):
    """DGCLNet and the similarity distinguish: all that is dropped after training."""

    def __init__(self, row: Row, config: Config, network: HandDGCL):
        super().__init__()
        self.row, self.settings = row, config.contrast
        nodes, features = network.graph_side.position.shape
        self.disturbance = build_disturbance(row.disturbance, features, config.disturb)
        self.keys = MomentumKeys(network.graph_side, config.contrast.momentum, config.contrast.similarity)
        compared = len(HANDS) * nodes * config.graph.features_k
        dtype = torch.float32 if config.train.precision == "32-true" else torch.bfloat16
        self.queue = Queue(config.contrast.queue, compared, len(HANDS) * JOINT_COUNT * 3, dtype)
        self.pose = HandLinear(nodes * features, JOINT_COUNT * 3) if row.consistent else None
        # The last one made: the weights before it are the same with and without it.
        self.predictor = Predictor(compared) if config.contrast.positive == "predictor" else None

    def branches(
        self, side: GraphSide, graph: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """G^, G_k and G^_k (eqs. 1 and 2) of G `[B, H, N, F]`, by the same GCN."""
        disturbed, adjacency = self.disturbance(graph, side.adjacency, generator)
        if adjacency is side.adjacency:  # the branches of one graph are one batch
            return disturbed, *side.gcn(torch.cat([graph, disturbed])).chunk(2)
        basis = chebyshev_basis(adjacency, len(side.basis))
        return disturbed, side.gcn(graph), side.gcn(disturbed, basis)

    def forward(
        self,
        disturbed: Tensor,
        graph_k: Tensor,
        disturbed_k: Tensor,
        *,
        feature: Tensor,
        target: Target,
        index: Tensor,
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """The contrastive terms of a batch, and what is to be queued after its step.

        Args:
            disturbed, graph_k, disturbed_k: of `branches`.
            feature: `[B, C]`, the image feature.
            target: ground truth.
            index: `[B]`, the images.

        Returns:
            terms "self", "consistent" and "cross" as the row has them; keys, poses and images.
        """
        joints = None
        if self.pose is not None:  # J_k, eq. 4
            joints = self.pose(disturbed.flatten(2).transpose(0, 1)).transpose(0, 1)
        keys = self.keys(feature.detach())
        with exact(feature.device):
            kind = self.settings.similarity
            query, pose = embed(graph_k, kind), embed_pose(target.joints, kind)
            others = self.queue.products(query)
            terms = {"self": self._self_contrast(graph_k, query, others, disturbed_k, index)}
            if joints is not None:
                terms["consistent"] = consistent(joints.float().unflatten(-1, (JOINT_COUNT, 3)), target)
            if self.row.cross:
                poses = pose @ self.queue.poses.T
                terms["cross"] = cross_contrast(others, poses, self.queue.held(), kind)
        return terms, (keys, pose, index)

    def _self_contrast(
        self, graph_k: Tensor, query: Tensor, others: Tensor, positive: Tensor, index: Tensor
    ) -> Tensor:
        """L_self with its positive by `contrast.positive`; L_cross compares features, predicted or not."""
        positive = embed(positive, self.settings.similarity)
        if self.settings.positive != "both":
            positive = positive.detach()
        if self.predictor is not None:
            predicted = self.predictor(graph_k.float().flatten(1)).view_as(graph_k)
            query = embed(predicted, self.settings.similarity)
            others = self.queue.products(query)
        own = (query * positive).sum(1)
        return self_contrast(own, others, self.queue.excluded(index), tau=self.settings.tau)


def exact(device: torch.device) -> torch.autocast:
    """Full precision for geometry, losses and similarities, also where the network runs in bfloat16."""
    return torch.autocast(device.type, enabled=False)


class TrainingModule(LightningModule):
    """Training of one row with one seed.

    Rows are paired: order, augmentation and the initial weights of all shared modules depend on the
    seed alone.
    """

    def __init__(self, row: Row, config: Config, hands: Hands, *, seed: int):
        super().__init__()
        self.row, self.config, self.seed = row, config, seed
        self.hands = hands
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = HandDGCL(config.encoder, config.graph, hands)
            torch.manual_seed(seed)
            self.contrastive = Contrastive(row, config, self.network) if row.disturbance else None
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, Tensor] = {}
        self._validation: dict[str, Tensor] = {}
        self._errors: list[dict[str, Tensor]] = []
        self._seen: list[tuple[Tensor, Tensor]] = []

    def random(self) -> torch.Generator:
        """The disturbance's generator in this step; a resumed run draws what an uninterrupted one would."""
        numbers = (self.seed, self.global_step, self.global_rank)
        return torch.Generator().manual_seed(hash(numbers) & (2**63 - 1))

    def training_step(self, drawn: DrawnBatch, batch_idx: int) -> Tensor:
        """The weighted loss of eq. 7."""
        with exact(self.device):
            batch = augment(drawn, self.hands)
            target = target_of(batch)
        side = self.network.graph_side
        feature = self.network.encoder(batch.image)
        graph = side.graph(feature)
        if self.contrastive is None:
            graph_k, terms = side.gcn(graph), {}
        else:
            disturbed, graph_k, disturbed_k = self.contrastive.branches(side, graph, self.random())
            terms, self._to_queue = self.contrastive(
                disturbed, graph_k, disturbed_k, feature=feature, target=target, index=batch.index
            )
        output = self.network.decode(graph, graph_k, batch.image.shape[-1])
        with exact(self.device):
            terms = reconstruction_terms(output, self.hands.joints(output.vertices), target) | terms
        loss = total(terms, self.config.loss)
        for name, value in (("loss", loss), *terms.items()):
            self._sums.setdefault(name, torch.zeros((), device=loss.device)).add_(value.detach())
        return loss

    def on_train_batch_end(self, outputs: object, batch: DrawnBatch, batch_idx: int) -> None:
        """After the step: the keys follow, and this batch becomes negatives of the next ones."""
        if self.contrastive is None:
            return
        keys, poses, index = self._to_queue
        if self.trainer.world_size > 1:  # every rank holds the same queue
            keys, poses, index = (self.all_gather(part).flatten(0, 1) for part in (keys, poses, index))
        self.contrastive.queue.add(keys, poses, index)
        self.contrastive.keys.update(self.network.graph_side)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self) -> None:
        """The epoch's mean of every term; the paper's schedule follows `train_loss`."""
        count = self.trainer.num_training_batches
        mean = self.trainer.strategy.reduce  # over processes
        record = {f"train_{name}": mean(value / count) for name, value in self._sums.items()}
        self._sums = {}
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

    def validation_step(self, raw: RawBatch, batch_idx: int) -> None:
        """Errors of every sample."""
        with exact(self.device):
            batch = finish(raw, self.hands)
        output = self.network(batch.image)
        with exact(self.device):
            prediction = Points.from_vertices(output.metric_vertices(), self.hands)
            errors = position_errors(prediction, Points(batch.vertices, batch.joints))
        self._errors.append({name: errors[name] for name in ("mpjpe_mm", "mpvpe_mm", "mrrpe_mm")})
        self._seen.append((output.graph_k, batch.joints))

    def on_validation_epoch_end(self) -> None:
        """Means over samples, and the monitors of the features."""
        errors = concatenate(self._errors)
        graph_k, joints = (torch.cat(part)[:MONITORED] for part in zip(*self._seen, strict=True))
        self._errors, self._seen = [], []
        record = {f"val_{name}": value.mean() for name, value in errors.items()}
        record |= monitors(graph_k, joints)
        self._validation = {name: value.float() for name, value in record.items()}
        self.log_dict(self._validation)  # every process has validated all samples

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam; the paper's halving on a plateau of the training loss, or one cycle for short runs."""
        settings = self.config.train
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=settings.lr, fused=True)
        if settings.schedule == "plateau":
            # The 4th epoch in a row that gains less than 1e-4 halves the rate (section 4.1).
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.5, patience=3, threshold=1e-4, threshold_mode="abs", min_lr=1e-6
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "train_loss"}}
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.lr, total_steps=int(self.trainer.estimated_stepping_batches), pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
