"""What is in a trained row's features: why a row is better or worse, measured on validation images.

| column of features.csv | what it is |
|---|---|
| `probe_graph_mm`, `probe_disturbed_mm` | error of a linear readout of the pose from G and from G^ |
| `probe_graph_r2`, `probe_disturbed_r2` | the share of the poses' variance that it explains |
| `probe_none_mm` | error of the training images' mean pose: a readout of nothing |
| `moved`, `moved_cosine` | distance over length and cosine of G^ and the G that it was made from |
| `apart`, `apart_cosine` | the same of the G of two different images |
| `alignment` | of G_k and G^_k of an image (Wang & Isola, ICML 2020); 0 is the same direction |
| `uniformity`, `uniformity_disturbed` | of G_k and of G^_k over images (ibid.); lower is more spread |
| `effective_rank`, `effective_rank_disturbed` | of G_k and of G^_k, see `contrast.monitors` |
| `pose_correlation_before`, `pose_correlation` | of S_p and S_g, at the initial weights and of the row |
| `neighbour_mm` | joint distance of an image's pose to that of the nearest by S_p among other subjects' |
| `neighbour_best_mm`, `neighbour_chance_mm` | the same of the nearest by S_g, and of any of them |

A row without a disturbance has those of G and G_k alone.
"""

import copy
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from handdgcl.data.store import Store
from handdgcl.evaluate.branches import Features, graph_features, row_features
from handdgcl.evaluate.probe import probe_errors, unit_poses
from handdgcl.files import replacing
from handdgcl.hands.camera import bone_scale
from handdgcl.model.contrast import embed, embed_pose, monitors, similarity
from handdgcl.model.encoder import RANDOM
from handdgcl.model.metrics import MM
from handdgcl.rows import get_row
from handdgcl.train.checkpoint import Trained, load_model
from handdgcl.train.module import TrainingModule

FITTED, LOOKED_AT = 1500, 500  # training images of the probe, validation images; fewer where there are not


class Looked(NamedTuple):
    """What one trained row makes of training and validation images.

    Attributes:
        fitted: of the training images that the probe is fitted on.
        seen: of the validation images that all is measured on.
        first: `[B, H, N, F_k]`, their G_k at the initial weights; None where these were pretrained, which
            would have to be fetched again.
        positions: `[B]`, where these images are in the store.
        foreign: `[B, B]`, pairs of images of different subjects; of different frames, if there is only one.
    """

    fitted: Features
    seen: Features
    first: Tensor | None
    positions: np.ndarray
    foreign: np.ndarray


def write_features(checkpoint: Path, *, store: Path, out: Path, hands: str | None = None) -> None:
    """Measure a trained row's features and leave them as features.csv, one line.

    Args:
        checkpoint: the trained row.
        store: the folder with the stores train/ and val/.
        out: takes features.csv.
        hands: folder of the hand models; default: where training had them.

    Raises:
        InputError: the checkpoint or a store cannot be read.
    """
    trained = load_model(checkpoint, hands=hands)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trained = trained._replace(network=trained.network.to(device), hands=trained.hands.to(device))
    with replacing(out / "features.csv") as path:
        pd.DataFrame([measures(look(trained, store))]).to_csv(path, index=False, float_format="%.6g")


@torch.inference_mode()
def look(trained: Trained, store: Path) -> Looked:
    """Run a trained row, on the device it is on, over some images of the stores train/ and val/."""
    train, val = Store(store / "train"), Store(store / "val")
    positions = spread(val, LOOKED_AT)
    random = trained.config.encoder.weights == RANDOM
    who = val.table.iloc[positions]
    pairs = lambda name: who[name].to_numpy()[:, None] != who[name].to_numpy()
    foreign = pairs("subject")
    return Looked(
        fitted=row_features(trained, train, spread(train, FITTED)),
        seen=row_features(trained, val, positions),
        first=graph_features(initial_network(trained), val, positions) if random else None,
        positions=positions,
        foreign=foreign if foreign.any() else pairs("frame"),
    )


@torch.inference_mode()
def measures(looked: Looked) -> dict[str, float]:
    """All columns of features.csv that are defined for a row; what so few images cannot say is left out."""
    seen = looked.seen
    S_p, S_g = similarities(seen.graph_k, seen.joints)
    found = probe_errors(looked.fitted, seen) | closeness_of(seen)
    if looked.first is not None:
        found["pose_correlation_before"] = correlation(similarities(looked.first, seen.joints)[0], S_g)
    found["pose_correlation"] = correlation(S_p, S_g)
    if looked.foreign.any(1).all():
        found |= neighbour_errors(S_p, S_g, seen.joints, looked.foreign)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def spread(store: Store, count: int) -> np.ndarray:
    """Positions of at most `count` samples, evenly over the store."""
    return np.linspace(0, len(store) - 1, min(count, len(store))).astype(int)


def initial_network(trained: Trained) -> torch.nn.Module:
    """The network with the weights that this row's training started from, in `eval` mode."""
    row, seed = get_row(trained.info["row"]), trained.info["seed"]
    hands = copy.deepcopy(trained.hands).cpu()  # the hierarchy of meshes is built there
    network = TrainingModule(row, trained.config, hands, seed=seed).network.eval()
    return network.to(trained.hands.template.device)


def closeness_of(seen: Features) -> dict[str, float]:
    """Distances and spread of the two branches' features: see the module's table."""
    graph, key = seen.graph.flatten(1), embed(seen.graph_k)
    found = {
        "apart": off_diagonal(torch.cdist(graph, graph) / graph.norm(dim=1)).mean(),
        "apart_cosine": off_diagonal(_cosines(graph)).mean(),
        "uniformity": uniformity(key),
        "effective_rank": monitors(seen.graph_k, seen.joints)["effective_rank"],
    }
    if seen.disturbed is not None:
        disturbed, other = seen.disturbed.flatten(1), embed(seen.disturbed_k)
        found |= {
            "moved": ((disturbed - graph).norm(dim=1) / graph.norm(dim=1)).mean(),
            "moved_cosine": functional.cosine_similarity(disturbed, graph).mean(),
            "alignment": alignment(key, other),
            "uniformity_disturbed": uniformity(other),
            "effective_rank_disturbed": monitors(seen.disturbed_k, seen.joints)["effective_rank"],
        }
    return {name: float(value) for name, value in found.items()}


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of positive pairs, unit vectors `[B, D]` (Wang & Isola, ICML 2020, eq. 7)."""
    return (x - y).square().sum(1).mean()


def uniformity(x: Tensor) -> Tensor:
    """Log of the mean Gaussian potential of all pairs of unit vectors `[B, D]` (ibid., eq. 8, t = 2)."""
    return torch.pdist(x).square().mul(-2).exp().mean().log()


def similarities(graph_k: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """S_p and S_g `[B, B]` (eqs. 5 and 6) among some images, from G_k and the true joints `[B, H, J, 3]`."""
    query, pose = embed(graph_k), embed_pose(joints)
    return similarity(query @ query.T), similarity(pose @ pose.T)


def correlation(S_p: Tensor, S_g: Tensor) -> float:
    """Pearson's, over pairs of different images; NaN where there are too few."""
    if len(S_p) < 3:
        return math.nan
    return float(np.corrcoef(off_diagonal(S_p), off_diagonal(S_g))[0, 1])


def neighbour_errors(S_p: Tensor, S_g: Tensor, joints: Tensor, foreign: np.ndarray) -> dict[str, float]:
    """Distances in mm, mean over joints, hands and images, to the poses of images that are most similar."""
    poses = torch.as_tensor(unit_poses(joints)).unflatten(2, (-1, 3))
    unit_mm = MM * bone_scale(joints)[..., 0]  # [B,H,1]
    apart = lambda other: ((other - poses).norm(dim=-1) * unit_mm).mean((1, 2))
    found = {
        "neighbour_mm": apart(poses[nearest(S_p, foreign, 1)[:, 0]]).mean(),
        "neighbour_best_mm": apart(poses[nearest(S_g, foreign, 1)[:, 0]]).mean(),
    }
    every = torch.stack([apart(pose) for pose in poses])  # [B,B]
    found["neighbour_chance_mm"] = every[torch.as_tensor(foreign)].mean()
    return {name: float(value) for name, value in found.items()}


def nearest(similar: Tensor, foreign: np.ndarray, count: int) -> np.ndarray:
    """The `count` most similar images to each among its `foreign` ones, `[B, count]`, the nearest first."""
    allowed = np.where(foreign, similar.numpy(), -np.inf)
    return np.argsort(-allowed, axis=1, kind="stable")[:, :count]


def off_diagonal(matrix: Tensor) -> np.ndarray:
    """The entries of a square matrix off its diagonal: pairs of different images."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)].numpy()


def _cosines(x: Tensor) -> Tensor:
    unit = functional.normalize(x, dim=1)
    return unit @ unit.T
