"""The fixed mesh hierarchy and spectral graph convolution on it.

The graph is the hand mesh's own (Ge et al., CVPR 2019; IntagHand, Li et al., CVPR 2022) and stays
fixed in training. A level's nodes are vertices, chosen by farthest-point sampling along the surface,
so the levels are nested and the same for both hands.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.transforms import AddLaplacianEigenvectorPE
from torch_geometric.utils import dense_to_sparse

NEIGHBOURS = 3  # coarse nodes that one finer node is interpolated from


@dataclass(frozen=True)
class Hierarchy:
    """Levels from coarse to fine; the last one is the whole mesh.

    Attributes:
        nodes: per level `[N]`, the vertex of each node.
        adjacency: per level `[N, N]`, 0/1, symmetric, no self loops.
        upsample: per step to the next finer level `[N_fine, N_coarse]`, rows sum to 1.
    """

    nodes: list[np.ndarray]
    adjacency: list[np.ndarray]
    upsample: list[np.ndarray]


def build_hierarchy(vertices: np.ndarray, faces: np.ndarray, counts: list[int]) -> Hierarchy:
    """The hierarchy of one mesh.

    Args:
        vertices: `[V, 3]`, any unit.
        faces: `[F, 3]`.
        counts: nodes of the coarse levels, increasing, below V.

    Returns:
        A hierarchy of `len(counts) + 1` levels.
    """
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    weights = csr_matrix((length, edges.T), shape=(len(vertices),) * 2)
    geodesic = dijkstra(weights, directed=False)  # [V,V]
    order = _farthest_points(geodesic, counts[-1])
    nodes = [order[:count] for count in counts] + [np.arange(len(vertices))]
    adjacency = [_cluster_adjacency(geodesic[:, level], edges) for level in nodes]
    upsample = [_interpolation(geodesic[np.ix_(fine, coarse)]) for coarse, fine in pairwise(nodes)]
    return Hierarchy(nodes, adjacency, upsample)


def _farthest_points(distance: np.ndarray, count: int) -> np.ndarray:
    """`count` points, each the farthest from all before it; the first is the most central one."""
    chosen = [int(distance.max(1).argmin())]
    nearest = distance[chosen[0]].copy()
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distance[chosen[-1]])
    return np.array(chosen)


def _cluster_adjacency(distance: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Nodes are neighbours where a mesh edge joins their Voronoi cells; distance `[V, N]`."""
    cell = distance.argmin(1)
    adjacency = np.zeros((distance.shape[1],) * 2, dtype=np.float32)
    adjacency[cell[edges[:, 0]], cell[edges[:, 1]]] = 1
    adjacency = np.maximum(adjacency, adjacency.T)
    np.fill_diagonal(adjacency, 0)
    return adjacency


def _interpolation(distance: np.ndarray) -> np.ndarray:
    """Inverse-distance weights on the nearest coarse nodes; distance `[N_fine, N_coarse]`."""
    weights = np.zeros(distance.shape, dtype=np.float32)
    rows = np.arange(len(distance))[:, None]
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
    near = distance[rows, nearest]
    # A fine node that is itself a coarse node takes that one alone.
    inverse = np.where(near[:, :1] == 0, near == 0, 1 / np.maximum(near, 1e-12))
    weights[rows, nearest] = inverse / inverse.sum(1, keepdims=True)
    return weights


def laplacian_eigenvectors(adjacency: np.ndarray, count: int) -> np.ndarray:
    """Positional embedding of the nodes: eigenvectors of the normalised Laplacian, the smoothest first.

    From torch-geometric, which leaves out the constant one (Dwivedi et al., JMLR 2023). Eigenvectors have no
    sign: each gets the one by which its entries' third powers sum to more than 0, in any order of nodes.

    Args:
        adjacency: `[N, N]`, symmetric, connected.
        count: k, below N.

    Returns:
        `[N, k]` float32, entries of mean square 1.
    """
    edges, _ = dense_to_sparse(torch.as_tensor(adjacency))
    data = Data(edge_index=edges, num_nodes=len(adjacency))
    with torch.random.fork_rng(devices=[]):  # it draws signs, which do not count
        vectors = AddLaplacianEigenvectorPE(count, attr_name="pe", is_undirected=True)(data).pe.numpy()
    sign = np.where((vectors**3).sum(0) < 0, -1, 1)
    return (vectors * sign * len(adjacency) ** 0.5).astype(np.float32)


def chebyshev_basis(adjacency: Tensor, order: int) -> Tensor:
    """T_0 … T_{K-1} of the scaled Laplacian (Defferrard et al., NeurIPS 2016).

    L = I - D^-1/2 A D^-1/2 and its largest eigenvalue is at most 2, so 2 L / 2 - I needs no
    eigenvalue, and a disturbed graph costs no more than a fixed one.

    Args:
        adjacency: `[..., N, N]`, symmetric, non-negative, no self loops.
        order: number of terms K.

    Returns:
        `[..., K, N, N]`.
    """
    degree = adjacency.sum(-1)
    scale = torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), torch.zeros_like(degree))
    laplacian = -scale[..., :, None] * adjacency * scale[..., None, :]  # scaled to [-1, 1]
    terms = [torch.eye(adjacency.shape[-1], device=adjacency.device).expand_as(adjacency), laplacian]
    while len(terms) < order:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    return torch.stack(terms[:order], -3)


class ChebConv(nn.Module):
    """Chebyshev graph convolution, y = sum_k T_k(L) x W_k + b (Defferrard et al., NeurIPS 2016, eq. 4).

    Nodes come first, so that T_k x is one matrix product for the whole batch. The basis comes with the
    call, since the branch with disturbed edges uses another graph.
    """

    def __init__(self, features_in: int, features_out: int, order: int):
        super().__init__()
        self.linear = nn.Linear(order * features_in, features_out)

    def forward(self, x: Tensor, basis: Tensor) -> Tensor:
        """x `[N, ..., F_in]`, basis `[K, N, N]` → `[N, ..., F_out]`."""
        terms = over_nodes(basis[1:].flatten(0, 1).to(x.dtype), x).unflatten(0, (-1, len(x)))
        return self.linear(torch.cat([x, *terms], -1))  # T_0 is the identity


def over_nodes(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix `[M, N]` times x `[N, ..., F]` → `[M, ..., F]`."""
    return (matrix @ x.flatten(1)).unflatten(1, x.shape[1:])


class ChebBlock(nn.Module):
    """A residual Chebyshev layer: x + relu(ChebConv(norm(x)))."""

    def __init__(self, features: int, order: int):
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.conv = ChebConv(features, features, order)

    def forward(self, x: Tensor, basis: Tensor) -> Tensor:
        """x `[N, ..., F]`, basis `[K, N, N]` → `[N, ..., F]`."""
        return x + torch.relu(self.conv(self.norm(x), basis))


def nodes_first(graph: Tensor) -> Tensor:
    """`[B, H, N, F]` → `[N, B, H, F]`."""
    return graph.permute(2, 0, 1, 3).contiguous()


def nodes_third(graph: Tensor) -> Tensor:
    """`[N, B, H, F]` → `[B, H, N, F]`, a view."""
    return graph.permute(1, 2, 0, 3)
