"""Both branches of a trained row, run again after training to look at them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from handdgcl.data.batch import RawBatch, with_joints
from handdgcl.data.store import Store
from handdgcl.model.disturb import build_disturbance
from handdgcl.model.graph import chebyshev_basis
from handdgcl.model.network import HandDGCL, Output
from handdgcl.rows import get_row
from handdgcl.train.checkpoint import Trained, load_model

_PREFIX = "contrastive.disturbance."  # of its weights in a checkpoint
_BATCH = 125


@dataclass
class Branches:
    """What DGCLNet compares, of some images.

    Attributes:
        graph, disturbed: `[B, H, N, F]`, G and its disturbed copy.
        adjacency, changed: `[N, N]`, the graphs of the two branches.
        graph_k, disturbed_k: `[B, H, N, F_k]`, the same GCN's output for each.
        kept: per pooling of the graph U-Net `[B H, N]`, whether it keeps a node; empty without one.
    """

    graph: Tensor
    disturbed: Tensor
    adjacency: Tensor
    changed: Tensor
    graph_k: Tensor
    disturbed_k: Tensor
    kept: list[Tensor]


@dataclass
class Features:
    """What a row makes of some images, and the poses that they show.

    Attributes:
        graph, disturbed: `[B, H, N, F]`, G and its disturbed copy, or None for a row without one.
        graph_k, disturbed_k: `[B, H, N, F_k]`, the GCN's output for each, or None likewise.
        joints: `[B, H, J, 3]` metres, the true ones.
    """

    graph: Tensor
    disturbed: Tensor | None
    graph_k: Tensor
    disturbed_k: Tensor | None
    joints: Tensor


@torch.inference_mode()
def run_branches(checkpoint: Path, raw: RawBatch, *, seed: int) -> Branches:
    """Both branches of a trained row that has a disturbance, as in training."""
    trained = load_model(checkpoint)
    output = trained.network(with_joints(raw, trained.hands).image)
    generator = torch.Generator().manual_seed(seed)
    return disturb(trained, load_disturbance(trained), output, generator)


def load_disturbance(trained: Trained) -> nn.Module | None:
    """The disturbance that a row was trained with, with its weights; None for a row without one."""
    name = get_row(trained.info["row"]).disturbance
    if name is None:
        return None
    features = trained.network.graph_side.position.shape[1]
    disturbance = build_disturbance(name, features, trained.config.disturb)
    weights = trained.info["weights"].items()
    disturbance.load_state_dict({k.removeprefix(_PREFIX): v for k, v in weights if k.startswith(_PREFIX)})
    return disturbance.to(trained.hands.template.device)


def disturb(trained: Trained, disturbance: nn.Module, output: Output, generator: torch.Generator) -> Branches:
    """The second branch to the first one, which is `output`."""
    side, graph = trained.network.graph_side, output.graph
    disturbed, changed = disturbance(graph, side.adjacency, generator)
    disturbed_k = side.gcn(disturbed, chebyshev_basis(changed, len(side.basis)))
    unet = get_row(trained.info["row"]).disturbance == "unet"
    kept = disturbance.unet.encode(graph.flatten(0, 1), side.adjacency)[2] if unet else []
    return Branches(graph, disturbed, side.adjacency, changed, output.graph_k, disturbed_k, kept)


@torch.inference_mode()
def row_features(trained: Trained, store: Store, indices: Sequence[int]) -> Features:
    """Both branches of a trained row on images of a store, batch by batch, on the device it is on.

    Disturbances are drawn with the row's seed, a graph with changed edges anew for each batch.
    """
    device = trained.hands.template.device
    disturbance = load_disturbance(trained)
    generator = torch.Generator().manual_seed(trained.info["seed"])
    parts = []
    for raw in _batches(store, indices, device):
        batch = with_joints(raw, trained.hands)
        output = trained.network(batch.image)
        part = [output.graph, output.graph_k, batch.joints]
        if disturbance is not None:
            second = disturb(trained, disturbance, output, generator)
            part += [second.disturbed, second.disturbed_k]
        parts.append([value.cpu() for value in part])
    graph, graph_k, joints, *second = (torch.cat(part) for part in zip(*parts, strict=True))
    disturbed, disturbed_k = second or (None, None)
    return Features(graph, disturbed, graph_k, disturbed_k, joints)


@torch.inference_mode()
def graph_features(network: HandDGCL, store: Store, indices: Sequence[int]) -> Tensor:
    """G_k `[B, H, N, F_k]` of a network on images of a store."""
    device = network.graph_side.position.device
    batches = _batches(store, indices, device)
    return torch.cat([network(raw.image).graph_k.cpu() for raw in batches])


def _batches(store: Store, indices: Sequence[int], device: torch.device) -> Iterator[RawBatch]:
    for start in range(0, len(indices), _BATCH):
        raw = store.batch(indices[start : start + _BATCH])
        yield RawBatch(**{name: value.to(device) for name, value in vars(raw).items()})
