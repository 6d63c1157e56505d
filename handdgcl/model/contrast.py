"""DGCLNet's contrast (sections 3.2 and 3.3): momentum keys, the queue, self contrast, similarity.

The sample is the image: a feature is both hands' G_k, flattened, less the batch's mean, of unit length,
so every similarity is a cosine of what sets images apart. Without the centring G_k's common part (the
positions of the nodes, the hand that all images share) is nearly all of it and all cosines are near 1.
`contrast.similarity` has that too, and the bare product that eqs. 3, 5 and 6 print, for comparison.
"""

import copy

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional

from handdgcl.config import Similarity
from handdgcl.data.camera import bone_scale
from handdgcl.hands.topology import ROOT_JOINT

EMPTY = -1  # index of a place in the queue that holds nothing yet


def embed(graph_k: Tensor, kind: Similarity = "centred") -> Tensor:
    """G_k `[B, H, N, F_k]` → `[B, H N F_k]`, vectors whose products are the similarities of `kind`."""
    return _comparable(graph_k.float().flatten(1), kind)


def embed_pose(joints: Tensor, kind: Similarity = "centred") -> Tensor:
    """Joints `[B, H, J, 3]` → `[B, H J 3]`, root-aligned and bone-scaled, then as `embed`."""
    joints = (joints - joints[..., ROOT_JOINT : ROOT_JOINT + 1, :]) / bone_scale(joints)
    return _comparable(joints.flatten(1), kind)


def _comparable(x: Tensor, kind: Similarity) -> Tensor:
    """Vectors `[B, D]` of unit length from the mean of the joint batch, or from 0, or as they are.

    About the mean, a batch of one is 0.
    """
    if kind == "dot":
        return x
    return functional.normalize(x - _over_processes(x.mean(0)) if kind == "centred" else x, dim=1)


def _over_processes(mean: Tensor) -> Tensor:
    """The mean of a joint batch from the means of its equal shares, with gradient."""
    if distributed.is_available() and distributed.is_initialized():
        return all_reduce(mean) / distributed.get_world_size()
    return mean


class Queue(nn.Module):
    """The feature-pose pool: the last Q keys, the poses beside them and the images they came from.

    Keys are held in `dtype`, that of the network, and compared in it: the step's largest product, whose
    factors have unit length.
    """

    def __init__(self, length: int, features: int, poses: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.register_buffer("features", torch.zeros(length, features, dtype=dtype))
        self.register_buffer("poses", torch.zeros(length, poses))
        self.register_buffer("index", torch.full((length,), EMPTY))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, features: Tensor, poses: Tensor, index: Tensor) -> None:
        """Overwrite the oldest entries by `[B, ·]` new ones; a batch longer than Q leaves its last Q."""
        length = len(self.index)
        features, poses, index = features[-length:], poses[-length:], index[-length:]
        place = (self.position + torch.arange(len(index), device=index.device)) % length
        self.features[place], self.poses[place], self.index[place] = features.to(self.features), poses, index
        self.position.copy_((self.position + len(index)) % length)

    def products(self, query: Tensor) -> Tensor:
        """`[B, Q]`, of vectors `[B, D]` and the keys."""
        return (query.to(self.features) @ self.features.T).to(query)

    def held(self) -> Tensor:
        """`[Q]`, places that hold something."""
        return self.index != EMPTY

    def excluded(self, index: Tensor) -> Tensor:
        """`[B, Q]`, keys that are no negatives of images `[B]`: empty places and the same image."""
        return ~self.held() | (self.index == index[:, None])


def self_contrast(own: Tensor, others: Tensor, excluded: Tensor, *, tau: float) -> Tensor:
    """L_self, eq. 13: the mean log probability of each image's own disturbed copy.

    Args:
        own: `[B]`, S of eq. 3, the cosine of G_k and G^_k of the same image.
        others: `[B, Q]`, cosines of G_k and the queue's keys.
        excluded: `[B, Q]`, keys that are no negatives.
        tau: temperature.

    Returns:
        A scalar ≤ 0, to be maximised.
    """
    others = others.masked_fill(excluded, -torch.inf)
    return functional.log_softmax(torch.cat([own[:, None], others], 1) / tau, dim=1)[:, 0].mean()


def similarity(product: Tensor, kind: Similarity = "centred") -> Tensor:
    """S_p and S_g (eqs. 5, 6): a cosine as a number in [0, 1], (1 + cosine) / 2; a bare product stays."""
    return product if kind == "dot" else (1 + product) / 2


def cross_contrast(features: Tensor, poses: Tensor, held: Tensor, kind: Similarity = "centred") -> Tensor:
    """L_cross, eq. 12, ‖S_p - S_g‖ as a root mean square over all pairs of the batch and the queue.

    A mean, so that it does not grow with the batch or the queue; 0 while the queue is empty.

    Args:
        features, poses: `[B, Q]`, products of features and of poses (`embed`, `embed_pose`).
        held: `[Q]`, places of the queue that hold something.
        kind: of the products.
    """
    square = (similarity(features, kind) - similarity(poses, kind)) ** 2 * held
    mean = _over_processes(square.sum() / (held.sum() * len(features)).clamp(min=1))
    return (mean + 1e-12).sqrt() * held.any()


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


class MomentumKeys(nn.Module):
    """A slowly following copy of the graph side (He et al., CVPR 2020, eq. 2); it gets no gradient."""

    def __init__(self, graph_side: nn.Module, momentum: float, kind: Similarity = "centred"):
        super().__init__()
        self.module = copy.deepcopy(graph_side).requires_grad_(False)
        self.momentum, self.kind = momentum, kind

    @torch.no_grad()
    def update(self, graph_side: nn.Module) -> None:
        """θ_k ← m θ_k + (1 - m) θ_q."""
        torch._foreach_lerp_(
            list(self.module.parameters()), [p.detach() for p in graph_side.parameters()], 1 - self.momentum
        )

    @torch.no_grad()
    def forward(self, feature: Tensor) -> Tensor:
        """Keys `[B, D]` from the image feature `[B, C]`."""
        return embed(self.module.gcn(self.module.graph(feature)), self.kind)


@torch.no_grad()
def monitors(graph_k: Tensor, joints: Tensor) -> dict[str, Tensor]:
    """Whether features tell images apart, and as poses do.

    `feature_std`, of unit vectors without the centring: their mean standard deviation times √D, the share
    of a feature that differs between images; 0 when collapsed (Chen & He, CVPR 2021). `effective_rank`:
    exp of the entropy of the centred features' normalised singular values (Roy & Vetterli, EUSIPCO
    2007), at most B. `pose_correlation`: Pearson's, of S_p and S_g over all pairs, centred whatever
    training compares by.

    Args:
        graph_k: `[B, H, N, F_k]`.
        joints: `[B, H, J, 3]`, the true ones.
    """
    flat = graph_k.float().flatten(1)
    features = functional.normalize(flat, dim=1)
    singular = torch.linalg.svdvals(flat - flat.mean(0))
    share = singular / singular.sum().clamp(min=1e-12)
    return {
        "feature_std": features.std(0, correction=0).mean() * features.shape[1] ** 0.5,
        "effective_rank": torch.special.entr(share).sum().exp(),
        "pose_correlation": pair_correlation(embed(graph_k), embed_pose(joints)),
    }


def pair_correlation(features: Tensor, poses: Tensor) -> Tensor:
    """Pearson's correlation of the cosines of features `[B, D]` and of poses `[B, P]`; 0 if undefined."""
    one, other = torch.triu_indices(len(features), len(features), offset=1)
    pairs = torch.stack([(x @ x.T)[one, other].double() for x in (features, poses)])
    return torch.corrcoef(pairs)[0, 1].nan_to_num() if len(one) > 1 else pairs.new_zeros(())
