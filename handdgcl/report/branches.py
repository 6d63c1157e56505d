"""Both branches of a trained row, run again after training to look at them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from handdgcl.data.batch import RawBatch, finish
from handdgcl.evaluate import load_model
from handdgcl.model.contrast import embed, embed_pose, similarity
from handdgcl.model.disturb import build_disturbance
from handdgcl.model.graph import chebyshev_basis
from handdgcl.rows import get_row

_PREFIX = "contrastive.disturbance."  # of its weights in a checkpoint


@dataclass
class Branches:
    """What DGCLNet compares, of some images.

    Attributes:
        graph, disturbed: `[B, H, N, F]`, G and its disturbed copy.
        adjacency, changed: `[N, N]`, the graphs of the two branches.
        graph_k, disturbed_k: `[B, H, N, F_k]`, the same GCN's output for each.
        pooled: per pooling of the graph U-Net `[B H, K]`, the kept nodes; empty for other disturbances.
    """

    graph: Tensor
    disturbed: Tensor
    adjacency: Tensor
    changed: Tensor
    graph_k: Tensor
    disturbed_k: Tensor
    pooled: list[Tensor]


@torch.inference_mode()
def run_branches(checkpoint: Path, raw: RawBatch, *, seed: int) -> Branches:
    """Both branches of a trained row that has a disturbance, as in training."""
    trained = load_model(checkpoint)
    output = trained.network(finish(raw, trained.hands).image)
    side, graph = trained.network.graph_side, output.graph
    name = get_row(trained.info["row"]).disturbance
    disturbance = build_disturbance(name, graph.shape[-1], trained.config.disturb)
    weights = trained.info["weights"].items()
    disturbance.load_state_dict({k.removeprefix(_PREFIX): v for k, v in weights if k.startswith(_PREFIX)})
    disturbed, changed = disturbance(graph, side.adjacency, torch.Generator().manual_seed(seed))
    disturbed_k = side.gcn(disturbed, chebyshev_basis(changed, len(side.basis)))
    pooled = disturbance.unet.encode(graph.flatten(0, 1), side.adjacency)[2] if name == "unet" else []
    return Branches(graph, disturbed, side.adjacency, changed, output.graph_k, disturbed_k, pooled)


@torch.inference_mode()
def pool_similarities(checkpoint: Path, raw: RawBatch) -> tuple[Tensor, Tensor]:
    """S_p and S_g `[B, B]` (eqs. 5 and 6) of a trained row among some images."""
    trained = load_model(checkpoint)
    batch = finish(raw, trained.hands)
    kind = trained.config.contrast.similarity
    query, pose = embed(trained.network(batch.image).graph_k, kind), embed_pose(batch.joints, kind)
    return similarity(query @ query.T, kind), similarity(pose @ pose.T, kind)
