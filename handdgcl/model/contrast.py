"""The contrast's parts (eqs. 3, 5, 6, 12, 13): embeddings, the queue, the losses, monitors.

The sample is the image: a feature is both hands' G_k, flattened, less the batch's mean, of unit length, so
every similarity is a cosine of what sets images apart. Without the centring G_k's common part (the positions
of the nodes, the hand that all images share) is nearly all of it and all cosines are near 1.
`contrast.similarity` has that too, and the bare product that eqs. 3, 5 and 6 print, for comparison.
"""

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather, all_reduce
from torch.nn import functional

from handdgcl.config import Similarity
from handdgcl.hands.camera import root_aligned

EMPTY = -1  # index of a place in the queue that holds nothing yet
PAPER_PAIRS = 32 * 2048  # of eq. 12: the paper's minibatch times its queue


def full_precision(device: torch.device) -> torch.autocast:
    """Full precision for geometry, losses and similarities, also where the network runs in bfloat16."""
    return torch.autocast(device.type, enabled=False)


def embed(x: Tensor, kind: Similarity = "centred") -> Tensor:
    """Features or joints `[B, ...]` → `[B, D]`, vectors whose products are the similarities of `kind`.

    Of unit length from the mean of the joint batch (a batch of one is 0), or from 0, or as they are.
    """
    x = x.float().flatten(1)
    if kind == "dot":
        return x
    return functional.normalize(x - over_processes(x.mean(0)) if kind == "centred" else x, dim=1)


def embed_pose(joints: Tensor, kind: Similarity = "centred") -> Tensor:
    """Joints `[B, H, J, 3]` of any root and unit → `[B, H J 3]`: root-aligned, bone-scaled, as `embed`."""
    return embed(root_aligned(joints, joints), kind)


def similarity(product: Tensor, kind: Similarity = "centred") -> Tensor:
    """S_p and S_g (eqs. 5, 6): a cosine as a number in [0, 1], (1 + cosine) / 2; a bare product stays."""
    return product if kind == "dot" else (1 + product) / 2


def self_contrast(S: Tensor, positive: Tensor, excluded: Tensor, *, tau: float) -> Tensor:
    """L_self, eq. 13: the mean log probability of each image's own disturbed copy among the pool.

    Args:
        S: `[B, M]`, cosines of G_k with the pool's Ĝ_k.
        positive: `[B]`, where in the pool each image's own copy is.
        excluded: `[B, M]`, places that are no negatives.
        tau: temperature.

    Returns:
        A scalar ≤ 0, to be maximised; -log M where nothing is told from anything.
    """
    logits = (S / tau).masked_fill(excluded, -torch.inf)
    return functional.log_softmax(logits, dim=1).gather(1, positive[:, None]).mean()


def cross_contrast(S_p: Tensor, S_g: Tensor, held: Tensor) -> Tensor:
    """L_cross, eq. 12: ‖S_p - S_g‖ as the printed norm is at the paper's sizes, whatever batch and queue are.

    That is the root mean square over all pairs times √(32 · 2048).

    Args:
        S_p, S_g: `[B, M]`, similarities of features and of poses, batch against pool.
        held: `[M]`, places of the pool that hold something.
    """
    square = (S_p - S_g) ** 2 * held
    mean = over_processes(square.sum() / (held.sum() * len(S_p)))
    return (PAPER_PAIRS * (mean + 1e-12)).sqrt()


class Queue(nn.Module):
    """The last Q keys, the poses beside them and the images they came from.

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
        """Overwrite the oldest entries by `[B, ·]` new ones; a batch longer than Q gives its last Q."""
        length = len(self.index)
        features, poses, index = features[-length:], poses[-length:], index[-length:]
        place = (self.position + torch.arange(len(index), device=index.device)) % length
        self.features[place], self.poses[place], self.index[place] = features.to(self.features), poses, index
        self.position.copy_((self.position + len(index)) % length)

    def products(self, query: Tensor) -> Tensor:
        """`[B, Q]`, of vectors `[B, D]` and the keys."""
        return (query.to(self.features) @ self.features.T).to(query)


def process() -> tuple[int, int]:
    """This process's rank among those that train together, and their number W."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def gathered(x: Tensor) -> Tensor:
    """Rows of all processes in the order of ranks, `[B, ...]` → `[W B, ...]`, with gradient."""
    return torch.cat(all_gather(x)) if process()[1] > 1 else x


def over_processes(mean: Tensor) -> Tensor:
    """The mean of a joint batch from the means of its equal shares, with gradient."""
    return all_reduce(mean) / process()[1] if process()[1] > 1 else mean


@torch.no_grad()
def monitors(
    G_k: Tensor, joints: Tensor, G: Tensor | None = None, G_hat: Tensor | None = None
) -> dict[str, Tensor]:
    """Whether features tell images apart, and as poses do; whether Ĝ is a slightly different G.

    `feature_std`, of unit vectors without the centring: their mean standard deviation times √D, the share
    of a feature that differs between images; 0 when collapsed (Chen & He, CVPR 2021). `effective_rank`:
    exp of the entropy of the centred features' normalised singular values (Roy & Vetterli, EUSIPCO
    2007), at most B. `pose_correlation`: Pearson's, of S_p and S_g over all pairs, centred whatever
    training compares by. `cos_disturbed`, `cos_images`: mean cosine of Ĝ and its G, median of two images' G.

    Args:
        G_k: `[B, H, N, F_k]`.
        joints: `[B, H, J, 3]`, the true ones.
        G, G_hat: `[B, H, N, F]`, of a row with a second branch.
    """
    flat = G_k.float().flatten(1)
    features = functional.normalize(flat, dim=1)
    singular = torch.linalg.svdvals(flat - flat.mean(0))
    share = singular / singular.sum().clamp(min=1e-12)
    found = {
        "feature_std": features.std(0, correction=0).mean() * features.shape[1] ** 0.5,
        "effective_rank": torch.special.entr(share).sum().exp(),
        "pose_correlation": pair_correlation(embed(G_k), embed_pose(joints)),
    }
    if G is not None:
        own, other = (functional.normalize(x.float().flatten(1), dim=1) for x in (G, G_hat))
        found["cos_disturbed"] = (own * other).sum(1).mean()
        if len(own) > 1:
            found["cos_images"] = (own @ own.T)[_pairs(len(own))].median()
    return found


def pair_correlation(features: Tensor, poses: Tensor) -> Tensor:
    """Pearson's correlation of the cosines of features `[B, D]` and of poses `[B, P]`; 0 if undefined."""
    pairs = torch.stack([(x @ x.T)[_pairs(len(x))].double() for x in (features, poses)])
    return torch.corrcoef(pairs)[0, 1].nan_to_num() if len(features) > 1 else pairs.new_zeros(())


def _pairs(count: int) -> tuple[Tensor, ...]:
    """Places of all pairs of different images in a matrix of them."""
    return tuple(torch.triu_indices(count, count, offset=1))
