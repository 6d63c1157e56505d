"""Where Ĝ comes from: the four explicit graph disturbances (EGD) and F_gen, the graph U-Net.

A disturbance maps (G, adjacency) to (Ĝ, adjacency of the second branch). The rows differ in nothing but
which one is used (handdgcl/rows.py). One of your own: a subclass of `Disturbance` in a file of its own and a
line in the list of rows.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from handdgcl.config import UNet
from handdgcl.files import InputError
from handdgcl.model.unet import GraphUNet


class Disturbance(nn.Module):
    """Base of all disturbances.

    Args:
        strength: how much is disturbed; `disturb.<name>` of the parameters, else the class's default.

    Attributes:
        name: its key in `disturb`.
        strength: class attribute, the default.
        most: class attribute, the greatest strength that means something.
    """

    name: str
    strength: float = 0.3
    most: float = 1.0

    def __init__(self, strength: float | None = None):
        super().__init__()
        self.strength = self.strength if strength is None else strength
        if not 0 <= self.strength <= self.most:
            raise InputError(f"disturb.{self.name} = {self.strength}: not within 0 … {self.most}")

    def forward(self, G: Tensor, adjacency: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """G `[B, H, N, F]`, adjacency `[N, N]` → Ĝ and the second branch's adjacency, same shapes.

        Random numbers come from `generator`, which is on the CPU, and from nowhere else.
        """
        raise NotImplementedError


class RandomMask(Disturbance):
    """(a) A share of the feature channels of each sample and hand is set to zero."""

    name = "mask"

    def forward(self, G: Tensor, adjacency: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `Disturbance.forward`."""
        B, H, _, F = G.shape
        keep = torch.rand(B, H, 1, F, generator=generator) >= self.strength
        return G * keep.to(G.device, non_blocking=True), adjacency


class RandomNoise(Disturbance):
    """(b) Gaussian noise of this standard deviation is added to the (normalised) features."""

    name, most = "noise", float("inf")

    def forward(self, G: Tensor, adjacency: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `Disturbance.forward`."""
        noise = torch.randn(G.shape, generator=generator, pin_memory=G.is_cuda).to(G, non_blocking=True)
        return G + self.strength * noise, adjacency


class RandomEdges(Disturbance):
    """(c) Edges are added to the second branch's graph, a share of the graph's own number.

    The new graph is drawn anew at each step and serves the whole batch.
    """

    name, most = "edge", float("inf")
    _of: Tensor | None = None

    def forward(self, G: Tensor, adjacency: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `Disturbance.forward`; Ĝ = G, and the new adjacency is on the CPU."""
        N = len(adjacency)
        row, column = torch.triu_indices(N, N, offset=1)
        adjacency = self.on_cpu(adjacency)
        present = adjacency[row, column] > 0
        candidates = self.candidates(present)
        count = round(self.strength * int(present.sum()))
        drawn = candidates[torch.randperm(len(candidates), generator=generator)[:count]]
        changed = adjacency.clone()
        for a, b in ((row[drawn], column[drawn]), (column[drawn], row[drawn])):
            changed[a, b] = 1 - changed[a, b]
        return G, changed

    def on_cpu(self, adjacency: Tensor) -> Tensor:
        """The adjacency where it is read; copied once, as every copy waits for a GPU."""
        if self._of is not adjacency:
            self._of, self._adjacency = adjacency, adjacency.cpu()
        return self._adjacency

    def candidates(self, present: Tensor) -> Tensor:
        """Pairs of nodes that may change, of `present` `[N (N - 1) / 2]`: those without an edge."""
        return torch.nonzero(~present)[:, 0]


class FlippedEdges(RandomEdges):
    """(d) Node pairs are flipped (present ↔ absent), as many as a share of the graph's edges."""

    name, most = "flip", 1.0

    def candidates(self, present: Tensor) -> Tensor:
        """All pairs."""
        return torch.arange(len(present), device=present.device)


class Generated(Disturbance):
    """Ĝ = F_gen(G), eq. 1: G + α U(G), normalised; U is a graph U-Net and α the strength.

    G is added as the original graph U-Net adds its input, and U's output is normalised first: its learned
    length would be a second dial, which the contrast turns down.
    """

    name, strength, most = "unet", 0.5, float("inf")

    def __init__(self, strength: float | None = None, *, features: int, settings: UNet):
        super().__init__(strength)
        self.unet = GraphUNet(features, settings.features, settings.keep)

    def forward(self, G: Tensor, adjacency: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `Disturbance.forward`."""
        U = normalise(self.unet(G.flatten(0, 1), adjacency).view_as(G))
        return normalise(G + self.strength * U), adjacency


def normalise(G: Tensor) -> Tensor:
    """Zero mean and unit variance over the features of each node ("all G are normalised before use")."""
    return functional.layer_norm(G, G.shape[-1:]).to(G.dtype)  # autocast on a GPU would return float32
