"""DGCLNet (sections 3.2 and 3.3): all that compares images in training and is dropped after it.

The pool of features and poses is the batch's own Ĝ_k and a queue of recent batches'. Positives and
negatives are Ĝ_k alike, so nothing but the image can tell them apart.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from handdgcl.config import Contrast
from handdgcl.files import InputError
from handdgcl.hands.topology import HANDS, JOINT_COUNT
from handdgcl.model.contrast import (
    EMPTY,
    Queue,
    cross_contrast,
    embed,
    full_precision,
    gathered,
    process,
    self_contrast,
    similarity,
)
from handdgcl.model.disturb import Disturbance
from handdgcl.model.graph import chebyshev_basis
from handdgcl.model.network import GraphSide, HandLinear


@dataclass
class Branches:
    """Both branches of some images.

    Attributes:
        G, G_hat: `[B, H, N, F]`, eq. 1.
        G_k, G_hat_k: `[B, H, N, F_k]`, eq. 2.
        adjacency: `[N, N]` of the second branch.
    """

    G: Tensor
    G_hat: Tensor
    G_k: Tensor
    G_hat_k: Tensor
    adjacency: Tensor


@dataclass
class Comparison:
    """What DGCLNet makes of a batch.

    Attributes:
        G_k: `[B, H, N, F_k]`, for the rest of the network.
        terms: "self", "consistent" and "cross", as the row has them; unweighted.
        new: keys `[B, D]`, poses `[B, P]` and images `[B]` for the queue; None without a contrast.
    """

    G_k: Tensor
    terms: dict[str, Tensor]
    new: tuple[Tensor, Tensor, Tensor] | None = None


class DGCLNet(nn.Module):
    """The second branch and its losses.

    Args:
        disturbance: where Ĝ comes from; None: Ĝ = G, for a row that only reads the pose from its graph.
        terms: of "self", "consistent", "cross".
        side: the network's graph side.
        settings: of the contrast.
        dtype: of the queue's keys, that of the network's products.
    """

    def __init__(
        self,
        disturbance: Disturbance | None,
        terms: tuple[str, ...],
        side: GraphSide,
        settings: Contrast,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.disturbance, self.terms, self.settings = disturbance, terms, settings
        nodes, features, compared = side.nodes, side.features, len(HANDS) * side.nodes * side.features_k
        self.pose = HandLinear(nodes * features, JOINT_COUNT * 3) if "consistent" in terms else None
        self.queue = self.keys = self.predictor = None
        if {"self", "cross"} & set(terms):
            _check(disturbance, side)
            self.queue = Queue(settings.queue, compared, len(HANDS) * JOINT_COUNT * 3, dtype)
            self.keys = MomentumKeys(side, disturbance, settings) if settings.momentum else None
            # The last one made: the weights before it are the same with and without it.
            self.predictor = Predictor(compared) if settings.positive == "predictor" else None

    def forward(
        self,
        side: GraphSide,
        feature: Tensor,
        G: Tensor,
        J: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> Comparison:
        """The contrastive terms of a batch.

        Args:
            side: the network's graph side.
            feature: `[B, C]`, the image feature.
            G: `[B, H, N, F]`.
            J: `[B, H, J, 3]`, the true joints, root-aligned, in |J9 - J0|.
            index: `[B]`, the images.
            generator: of the disturbance.
        """
        if self.queue is None:
            G_hat = G if self.disturbance is None else self.disturbance(G, side.adjacency, generator)[0]
            J_k = self.estimate(G_hat)
            return Comparison(side.gcn(G), {"consistent": (J_k - J).abs().mean()})
        both = self.branches(side, G, generator)  # eqs. 1, 2
        with full_precision(G.device):
            terms, J_k = {}, J
            if self.pose is not None:
                J_k = self.estimate(both.G_hat)  # eq. 4
                terms["consistent"] = (J_k - J).abs().mean()  # eq. 10
            query, own = self.compared(both.G_k), embed(both.G_hat_k, self.settings.similarity)
            S = self.products(query, own if self.settings.positive == "both" else own.detach())  # eqs. 3, 5
            if "self" in self.terms:
                terms["self"] = self_contrast(S, *self.pairs(index), tau=self.settings.tau)  # eq. 13
            pose = embed(J if self.settings.poses == "true" else J_k.detach(), self.settings.similarity)
            if "cross" in self.terms:
                products = torch.cat([pose @ gathered(pose).T, pose @ self.queue.poses.T], 1)  # eq. 6
                S_p, S_g = (similarity(x, self.settings.similarity) for x in (S, products))
                terms["cross"] = cross_contrast(S_p, S_g, self.held(len(S)))  # eq. 12
        keys = own.detach() if self.keys is None else self.keys(feature, generator)
        return Comparison(both.G_k, terms, (keys, pose, index))

    def branches(self, side: GraphSide, G: Tensor, generator: torch.Generator) -> Branches:
        """Ĝ, G_k and Ĝ_k of G `[B, H, N, F]`, the last two by the same GCN."""
        G_hat, adjacency = self.disturbance(G, side.adjacency, generator)
        if adjacency is side.adjacency:  # the branches of one graph are one batch
            G_k, G_hat_k = side.gcn(torch.cat([G, G_hat])).chunk(2)
        else:
            basis = chebyshev_basis(adjacency, len(side.basis)).to(G.device, non_blocking=True)
            G_k, G_hat_k = side.gcn(G), side.gcn(G_hat, basis)
        return Branches(G, G_hat, G_k, G_hat_k, adjacency)

    def estimate(self, G_hat: Tensor) -> Tensor:
        """J_k = MLP(Ĝ), eq. 4: joints `[B, H, J, 3]`, root-aligned, in |J9 - J0|."""
        with full_precision(G_hat.device):
            joints = self.pose(G_hat.float().flatten(2).transpose(0, 1)).transpose(0, 1)
        return joints.unflatten(-1, (JOINT_COUNT, 3))

    def compared(self, G_k: Tensor) -> Tensor:
        """What is compared of G_k: itself, or what SimSiam's head predicts from it; `[B, D]`."""
        if self.predictor is not None:
            G_k = self.predictor(G_k.float().flatten(1))
        return embed(G_k, self.settings.similarity)

    def products(self, query: Tensor, own: Tensor) -> Tensor:
        """S `[B, W B + Q]` of queries `[B, D]` with the pool: all processes' own Ĝ_k, then the queue."""
        return torch.cat([query @ gathered(own).T, self.queue.products(query)], 1)

    def pairs(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Of the pool: `[B]` each image's positive, and `[B, W B + Q]` what is no negative of it.

        Excluded are empty places and other copies of the same image.
        """
        B = len(index)
        positive = torch.arange(B, device=index.device) + process()[0] * B
        pool = torch.cat([gathered(index), self.queue.index])
        excluded = (pool == index[:, None]) | (pool == EMPTY)
        return positive, excluded.scatter(1, positive[:, None], False)

    def held(self, batch: int) -> Tensor:
        """`[W B + Q]`, places of the pool that hold something."""
        own = self.queue.index.new_zeros(batch * process()[1])
        return torch.cat([own, self.queue.index]) != EMPTY

    def after_step(self, comparison: Comparison, side: GraphSide) -> None:
        """The batch becomes negatives of the next ones; every process holds the same queue."""
        if comparison.new is not None:
            self.queue.add(*(gathered(part) for part in comparison.new))
        if self.keys is not None:
            self.keys.update(side, self.disturbance)


class MomentumKeys(nn.Module):
    """A slowly following copy of what makes Ĝ_k (He et al., CVPR 2020, eq. 2); it gets no gradient."""

    def __init__(self, side: GraphSide, disturbance: Disturbance, settings: Contrast):
        super().__init__()
        self.side = copy.deepcopy(side).requires_grad_(False)
        self.disturbance = copy.deepcopy(disturbance).requires_grad_(False)
        self.momentum, self.kind = settings.momentum, settings.similarity

    @torch.no_grad()
    def update(self, side: GraphSide, disturbance: Disturbance) -> None:
        """θ_k ← m θ_k + (1 - m) θ_q."""
        for own, other in ((self.side, side), (self.disturbance, disturbance)):
            if parameters := list(own.parameters()):
                torch._foreach_lerp_(parameters, [p.detach() for p in other.parameters()], 1 - self.momentum)

    @torch.no_grad()
    def forward(self, feature: Tensor, generator: torch.Generator) -> Tensor:
        """Keys `[B, D]` from the image feature `[B, C]`: of Ĝ, as the positives are."""
        G_hat, adjacency = self.disturbance(self.side.graph(feature), self.side.adjacency, generator)
        basis = chebyshev_basis(adjacency, len(self.side.basis)).to(feature.device, non_blocking=True)
        return embed(self.side.gcn(G_hat, basis), self.kind)


class Predictor(nn.Sequential):
    """SimSiam's prediction head (Chen & He, CVPR 2021, section 3): a bottleneck of a quarter's width."""

    def __init__(self, features: int):
        hidden = max(1, features // 4)
        super().__init__(
            nn.Linear(features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, features),
        )


def _check(disturbance: Disturbance, side: GraphSide) -> None:
    """Run a disturbance once on a small batch, so that a mistake in it is found before training.

    Raises:
        InputError: it fails, or gives something of another shape.
    """
    G = torch.randn(2, len(HANDS), side.nodes, side.features, generator=torch.Generator().manual_seed(0))
    name = f"{type(disturbance).__name__} (disturb.{disturbance.name})"
    try:
        G_hat, adjacency = disturbance(G, side.adjacency, torch.Generator().manual_seed(0))
    except Exception as error:  # somebody's own code can raise anything
        raise InputError(f"{name}: fails on G {list(G.shape)}: {error}") from error
    for what, found, wanted in (("G_hat", G_hat, G), ("adjacency", adjacency, side.adjacency)):
        if found.shape != wanted.shape or not found.isfinite().all():
            raise InputError(
                f"{name}: {what} {list(found.shape)} must be finite and of shape {list(wanted.shape)}"
            )
