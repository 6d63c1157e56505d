"""HandDGCL at inference: image → G → G_k → two hands. Nothing here is used in training only."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from handdgcl.config import Encoder, Graph
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, LEFT, RIGHT
from handdgcl.model.disturb import normalise
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.graph import (
    ChebBlock,
    ChebConv,
    build_hierarchy,
    chebyshev_basis,
    laplacian_eigenvectors,
    nodes_first,
    nodes_third,
    over_nodes,
)
from handdgcl.model.metrics import Points

TYPICAL_BONE_M = 0.095  # the scale head starts at this middle metacarpal
TYPICAL_CAMERA = (0.15, 0.5, 0.5)  # and the camera at this, in shares of the crop's side
POSITION_STD = 0.06  # of the nodes' embedding at the start: that of the image's part, which it must not hide


@dataclass
class Output:
    """What the network says of an image.

    Attributes:
        vertices: `[B, H, V, 3]`, camera axes, units of |J9 - J0|; training puts the root joint at the origin.
            `[B, H, 0, 3]` of a network that says joints alone.
        scale: `[B, H]` metres, |J9 - J0|.
        camera: `[B, H, 3]` weak perspective: s (px per unit), t_x, t_y (px of the crop).
        relative_root: `[B, 3]` in units of the mean |J9 - J0|, left root - right root.
        joints: `[B, H, J, 3]` as the vertices, of a network that has none; None: the regressor's.
        graph: `[B, H, N, F]`, G, of a network that has graphs.
        graph_k: `[B, H, N, F_k]`, G_k.
    """

    vertices: Tensor
    scale: Tensor
    camera: Tensor
    relative_root: Tensor
    joints: Tensor | None = None
    graph: Tensor | None = None
    graph_k: Tensor | None = None

    def metric_vertices(self) -> Tensor:
        """`[B, H, V, 3]` metres, camera axes; the right root is near the origin, where training puts it."""
        return self._placed(self.vertices)

    def joints_of(self, hands: Hands) -> Tensor:
        """`[B, H, J, 3]`, the network's own or the regressor's, as the vertices."""
        return hands.joints(self.vertices) if self.joints is None else self.joints

    def points(self, hands: Hands) -> Points:
        """What is measured: metres, double precision, placed as `metric_vertices`."""
        if self.joints is None:
            return Points.from_vertices(self.metric_vertices(), hands)
        return Points(None, self._placed(self.joints).double())

    def repeated(self, count: int) -> "Output":
        """That of one image, for so many; nothing is copied."""
        parts = {k: v if v is None else v.expand(count, *v.shape[1:]) for k, v in vars(self).items()}
        return Output(**parts)

    def _placed(self, points: Tensor) -> Tensor:
        points = points * self.scale[..., None, None]
        offset = points.new_zeros(len(points), len(HANDS), 1, 3)
        offset[:, LEFT, 0] = self.relative_root * self.scale.mean(1, keepdim=True)
        return points + offset


class HandLinear(nn.Module):
    """A linear layer for each hand: `[H, B, F_in]` → `[H, B, F_out]`, hands first."""

    def __init__(self, features_in: int, features_out: int):
        super().__init__()
        bound = features_in**-0.5  # as nn.Linear
        self.weight = nn.Parameter(torch.empty(len(HANDS), features_in, features_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(HANDS), 1, features_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """x `[H, B, F_in]` → `[H, B, F_out]`."""
        return torch.baddbmm(self.bias, x, self.weight)


class GraphSide(nn.Module):
    """From the image feature to G and G_k.

    Attributes:
        nodes, features, features_k: N, F and F_k.
        adjacency: `[N, N]`, basis: `[K, N, N]`, of the hand's own graph.
    """

    def __init__(self, image_features: int, settings: Graph, adjacency: np.ndarray):
        super().__init__()
        self.nodes, self.features, self.features_k = len(adjacency), settings.features, settings.features_k
        self.mlp = nn.Sequential(
            HandLinear(image_features, settings.hidden),
            nn.ReLU(),
            HandLinear(settings.hidden, self.nodes * self.features),
        )
        eigenvectors = laplacian_eigenvectors(adjacency, settings.eigenvectors)
        self.register_buffer("eigenvectors", torch.as_tensor(eigenvectors), persistent=False)
        width = POSITION_STD / eigenvectors.shape[1] ** 0.5
        self.position = nn.Parameter(width * torch.randn(len(HANDS), eigenvectors.shape[1], self.features))
        self.blocks = nn.ModuleList(ChebBlock(self.features, settings.order) for _ in range(settings.layers))
        self.reduce = ChebConv(self.features, self.features_k, settings.order)
        self.register_buffer("adjacency", torch.as_tensor(adjacency), persistent=False)
        self.register_buffer("basis", chebyshev_basis(self.adjacency, settings.order), persistent=False)

    def graph(self, feature: Tensor) -> Tensor:
        """G, normalised, from the image feature: `[B, C]` → `[B, H, N, F]`.

        A hand's own MLP plus its own embedding of the nodes, a learned map of the Laplacian's eigenvectors.
        """
        x = self.mlp(feature.expand(len(HANDS), -1, -1)).unflatten(-1, (self.nodes, self.features))
        embedding = self.eigenvectors @ self.position  # [H,N,F]
        return normalise(x + embedding[:, None].to(x.dtype)).transpose(0, 1)

    def gcn(self, graph: Tensor, basis: Tensor | None = None) -> Tensor:
        """G_k = GCN(G), eq. 2; `[B, H, N, F]` → `[B, H, N, F_k]`, on the hand's graph or a disturbed one."""
        basis = self.basis if basis is None else basis
        x = nodes_first(graph)
        for block in self.blocks:
            x = block(x, basis)
        return nodes_third(self.reduce(x, basis))


class Upsample(nn.Module):
    """From G_k on the coarsest level to the vertices, level by level.

    Features move up by the hierarchy's interpolation and pass a Chebyshev layer; the last step, on
    coordinates, is a learned matrix that starts as the interpolation (as IntagHand's).
    """

    def __init__(self, settings: Graph, adjacency: list[np.ndarray], upsample: list[np.ndarray]):
        super().__init__()
        features = settings.features_k
        self.blocks = nn.ModuleList(ChebBlock(features, settings.order) for _ in upsample[:-1])
        for level, (matrix, graph) in enumerate(zip(upsample[:-1], adjacency[1:], strict=False)):
            self.register_buffer(f"matrix_{level}", torch.as_tensor(matrix), persistent=False)
            basis = chebyshev_basis(torch.as_tensor(graph), settings.order)
            self.register_buffer(f"basis_{level}", basis, persistent=False)
        self.coordinates = nn.Linear(features, 3)
        self.to_mesh = nn.Parameter(torch.as_tensor(upsample[-1]).clone())
        self.offset = nn.Parameter(torch.zeros(len(HANDS), upsample[-1].shape[0], 3))

    def forward(self, graph_k: Tensor) -> Tensor:
        """G_k `[B, H, N, F_k]` → vertices `[B, H, V, 3]`, units of |J9 - J0|."""
        x = nodes_first(graph_k)
        for level, block in enumerate(self.blocks):
            x = block(over_nodes(getattr(self, f"matrix_{level}"), x), getattr(self, f"basis_{level}"))
        # bfloat16 would round coordinates to 0.4 %, half a millimetre at the fingertips.
        with torch.autocast(x.device.type, enabled=False):
            x = over_nodes(self.to_mesh, self.coordinates(x.float()))
        # In this order in memory too: the losses compare vertices with targets, element by element.
        return nodes_third(x).contiguous() + self.offset


class HandDGCL(nn.Module):
    """The network that is left after training; DGCLNet has gone (section 3.1).

    Args:
        encoder, graph: its sizes.
        hands: the mesh that the hierarchy is built on.
        pretrained: load the weights that `encoder.weights` names; False where a checkpoint follows.
    """

    def __init__(self, encoder: Encoder, graph: Graph, hands: Hands, *, pretrained: bool = True):
        super().__init__()
        template, faces = hands.template[RIGHT].numpy(), hands.faces[RIGHT].numpy()
        hierarchy = build_hierarchy(template, faces, list(graph.nodes))
        self.encoder = ImageEncoder(encoder, pretrained=pretrained)
        self.graph_side = GraphSide(self.encoder.features, graph, hierarchy.adjacency[0])
        self.upsample = Upsample(graph, hierarchy.adjacency, hierarchy.upsample)
        flat = graph.nodes[0] * graph.features
        self.place = nn.Linear(flat, 4)  # camera and scale of a hand
        self.relation = nn.Linear(len(HANDS) * flat, 3)  # relative root
        nn.init.zeros_(self.place.weight)  # so that every image starts at the typical place
        nn.init.zeros_(self.place.bias)
        self.register_buffer("typical_camera", torch.tensor(TYPICAL_CAMERA), persistent=False)

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255."""
        graph = self.graph_side.graph(self.encoder(image))
        return self.decode(graph, self.graph_side.gcn(graph), image.shape[-1])

    def decode(self, graph: Tensor, graph_k: Tensor, size: int) -> Output:
        """Both hands from G `[B, H, N, F]` and G_k `[B, H, N, F_k]`; size is the crop's side S in px."""
        # bfloat16 would round camera, scale and relative root to 0.4 %.
        with torch.autocast(graph.device.type, enabled=False):
            # A mean over the nodes with weights of their own: a sum over so many would leap at every step.
            mean = graph.float() / graph.shape[2]
            pose, relative_root = self.place(mean.flatten(2)), self.relation(mean.flatten(1))
        return Output(
            vertices=self.upsample(graph_k),
            scale=TYPICAL_BONE_M * pose[..., 3].exp(),
            camera=size * (self.typical_camera + pose[..., :3]),
            relative_root=relative_root,
            graph=graph,
            graph_k=graph_k,
        )
