"""Graph U-Net (Gao & Ji, ICML 2019), dense and batched: F_gen of eq. 1.

All hand graphs have the same number of nodes and keep the same number of them, so a batch is one
dense tensor and needs no sparse matrices. Layers, parameters and their names are those of PyG's
`GraphUNet` (with `sum_res=True`), which is the oracle of the test.
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
        return propagation @ self.lin(x) + self.bias


def propagation(adjacency: Tensor) -> Tensor:
    """D^-1/2 (A + 2 I) D^-1/2 of graphs `[..., N, N]`."""
    looped = adjacency + 2 * torch.eye(adjacency.shape[-1], device=adjacency.device)
    scale = looped.sum(-1).rsqrt()
    return scale[..., :, None] * looped * scale[..., None, :]


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
            x = skips[finer] + _unpool(x, kept[finer], skips[finer].shape[1])
            x = conv(x, graphs[finer])
            x = torch.relu(x) if finer > 0 else x
        return x

    def encode(self, x: Tensor, adjacency: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The way down; x `[B, N, F]`, adjacency `[N, N]`.

        Returns:
            per level features `[B, K, hidden]` and `propagation` `[..., K, K]`; per pooling the kept
            nodes `[B, K]`, numbered as in the level above.
        """
        graphs, kept = [propagation(adjacency)], []
        x = torch.relu(self.down_convs[0](x, graphs[0]))
        skips = [x]
        for weight, share, conv in zip(self.pools, self.keep, self.down_convs[1:], strict=True):
            x, adjacency, nodes = pool(x, _two_hops(adjacency), weight, share)
            graphs.append(propagation(adjacency))
            x = torch.relu(conv(x, graphs[-1]))
            skips.append(x)
            kept.append(nodes)
        return skips, graphs, kept


def pool(x: Tensor, adjacency: Tensor, weight: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Top-k pooling: keep the nodes that project farthest on a learned direction, gated by it.

    Args:
        x: `[B, N, F]`.
        adjacency: `[N, N]` of all graphs or `[B, N, N]`.
        weight: `[F]`, the direction.
        share: share of the nodes that stay, rounded up.

    Returns:
        x `[B, K, F]`, adjacency `[B, K, K]` and the kept nodes `[B, K]`.
    """
    count = math.ceil(share * x.shape[1])
    score = torch.tanh((x * weight).sum(-1) / weight.norm())  # [B,N]
    score, nodes = score.topk(count, dim=1)
    x = x.gather(1, nodes[..., None].expand(-1, -1, x.shape[2])) * score[..., None]
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    adjacency = adjacency.expand(len(x), -1, -1)[batch, nodes[:, :, None], nodes[:, None, :]]
    return x, adjacency, nodes


def _two_hops(adjacency: Tensor) -> Tensor:
    """(A + I)^2 without its diagonal, so that pooling does not tear the graph apart."""
    looped = adjacency + torch.eye(adjacency.shape[-1], device=adjacency.device)
    squared = looped @ looped
    return squared - torch.diag_embed(squared.diagonal(dim1=-2, dim2=-1))


def _unpool(x: Tensor, nodes: Tensor, count: int) -> Tensor:
    """Put `[B, K, F]` back at its nodes `[B, K]` among `count`; zero elsewhere."""
    out = x.new_zeros(x.shape[0], count, x.shape[2])
    return out.scatter(1, nodes[..., None].expand_as(x), x)
