"""Graph U-Net (Gao & Ji, ICML 2019), dense and batched: F_gen of eq. 1.

All hand graphs have the same number of nodes, so a batch is one dense tensor and needs no sparse
matrices; nodes that pooling drops stay in it, cut off from the others. Layers, parameters and their
names are those of PyG's `GraphUNet` (with `sum_res=True`), which is the oracle of the test.
"""

import math

import torch
from torch import Tensor, nn


class GCNConv(nn.Module):
    """Graph convolution with doubled self loops (Kipf & Welling 2017; Gao & Ji 2019)."""

    def __init__(self, features_in: int, features_out: int):
        super().__init__()
        self.lin = nn.Linear(features_in, features_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(features_out))

    def forward(self, x: Tensor, propagation: Tensor) -> Tensor:
        """x `[B, N, F_in]`, `propagation` of the graph `[..., N, N]` → `[B, N, F_out]`."""
        return propagation @ self.lin(x) + self.bias.to(x.dtype)


def propagation(looped: Tensor) -> Tensor:
    """D^-1/2 (A + 2 I) D^-1/2 of graphs A + I `[..., N, N]`."""
    scale = (looped.sum(-1, keepdim=True) + 1).rsqrt()
    # The outer product by itself: a factor that is repeated along an axis takes four times as long.
    scaled = looped * (scale @ scale.mT)
    scaled.diagonal(dim1=-2, dim2=-1).add_(scale[..., 0].square())
    return scaled


class GraphUNet(nn.Module):
    """Encoder of graph convolutions and top-k pooling, decoder of unpooling with skips.

    Args:
        features: F, in and out.
        hidden: features inside.
        keep: share of the nodes each pooling keeps, e.g. `[0.9, 0.8, 0.7]`.
    """

    def __init__(self, features: int, hidden: int, keep: list[float]):
        super().__init__()
        self.keep = list(keep)
        depth = len(self.keep)
        self.down_convs = nn.ModuleList(
            GCNConv(features if level == 0 else hidden, hidden) for level in range(depth + 1)
        )
        self.up_convs = nn.ModuleList(
            GCNConv(hidden, features if level == depth - 1 else hidden) for level in range(depth)
        )
        self.pools = nn.ParameterList(
            nn.Parameter(torch.empty(hidden).uniform_(-(hidden**-0.5), hidden**-0.5)) for _ in range(depth)
        )

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """x `[B, N, F]`, adjacency `[N, N]` of all graphs → `[B, N, F]`."""
        skips, graphs, kept = self.encode(x, adjacency)
        x = skips[-1]
        for level, conv in enumerate(self.up_convs):
            finer = len(kept) - 1 - level
            x = conv(skips[finer] + x * kept[finer][..., None], graphs[finer])
            x = torch.relu(x) if finer > 0 else x
        return x

    def encode(self, x: Tensor, adjacency: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The way down; x `[B, N, F]`, adjacency `[N, N]`.

        Returns:
            per level features `[B, N, hidden]`, meaningless at nodes that are gone, and `propagation`
            `[..., N, N]`; per pooling `[B, N]`, whether a node is still there.
        """
        looped = (adjacency + torch.eye(len(adjacency), device=x.device)).to(x.dtype)
        graphs, kept = [propagation(looped)], []
        x = torch.relu(self.down_convs[0](x, graphs[0]))
        skips = [x]
        count, there = x.shape[1], x.new_ones(x.shape[:2], dtype=torch.bool)
        for weight, share, conv in zip(self.pools, self.keep, self.down_convs[1:], strict=True):
            count = math.ceil(share * count)
            score, there = pool(x, there, weight, count)
            looped = two_hops(looped, there)
            graphs.append(propagation(looped))
            x = torch.relu(conv(x * score[..., None].to(x.dtype), graphs[-1]))
            skips.append(x)
            kept.append(there)
        return skips, graphs, kept


def pool(x: Tensor, there: Tensor, weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Top-k pooling: keep the nodes that project farthest on a learned direction.

    Args:
        x: `[B, N, F]`.
        there: `[B, N]`, nodes that are still there.
        weight: `[F]`, the direction.
        count: nodes that stay.

    Returns:
        `[B, N]` the gate of each node, and whether it stays.
    """
    # In bfloat16 ties and rounding would choose 2 to 16 % of the nodes.
    with torch.autocast(x.device.type, enabled=False):
        score = torch.tanh(x.float() @ (weight / weight.norm()))
    nodes = score.detach().masked_fill(~there, -torch.inf).topk(count, dim=1, sorted=False).indices
    return score, torch.zeros_like(there).scatter_(1, nodes, True)


@torch.no_grad()
def two_hops(looped: Tensor, there: Tensor) -> Tensor:
    """The graph of all paths of two steps, so that pooling does not tear it apart, among nodes that stay.

    Args:
        looped: A + I, `[N, N]` of all graphs or `[B, N, N]`.
        there: `[B, N]`, nodes that stay.

    Returns:
        `[B, N, N]`, (A + I)^2 with ones on its diagonal; a node that is gone has no other entry.
    """
    there = there.to(looped.dtype)[..., None]
    squared = (looped @ looped) * (there @ there.mT)
    squared.diagonal(dim1=1, dim2=2).fill_(1)
    return squared
