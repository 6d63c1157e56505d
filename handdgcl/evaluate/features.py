"""What is in a trained row's features, on validation images: why a row is better or worse.

| column of features.csv | what it is |
|---|---|
| `probe_graph_mm`, `probe_disturbed_mm` | error of a linear readout of the pose from G and from Ĝ |
| `probe_graph_r2`, `probe_disturbed_r2` | the share of the poses' variance that it explains |
| `probe_none_mm` | error of the training images' mean pose: a readout of nothing |
| `cos_disturbed`, `cos_images` | cosine of Ĝ and its G, and of two images' G, see `contrast.monitors` |
| `feature_std`, `effective_rank`, `pose_correlation` | of G_k, see there |
| `pose_correlation_before` | the same at the initial weights |
| `effective_rank_disturbed` | of Ĝ_k |
| `alignment` | of an image's G_k and Ĝ_k (Wang & Isola, ICML 2020); 0 is the same direction |
| `uniformity`, `uniformity_disturbed` | of G_k and of Ĝ_k over images (ibid.); lower is more uniform |
| `neighbour_mm` | joint distance of an image's pose to that of the nearest by S_p among other subjects' |
| `neighbour_best_mm`, `neighbour_chance_mm` | the same of the nearest by S_g, and of any of them |

A row without a second branch has those of G and G_k alone.
"""

import copy
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from handdgcl.data.batch import with_joints
from handdgcl.data.loader import evenly
from handdgcl.data.store import Indices, Store
from handdgcl.files import write_file
from handdgcl.hands.camera import MM, bone_scale, root_aligned
from handdgcl.model.contrast import embed, embed_pose, monitors, pair_correlation, similarity
from handdgcl.model.encoder import RANDOM
from handdgcl.rows import get_row
from handdgcl.train.checkpoint import Trained
from handdgcl.train.module import TrainingModule

TRAIN_IMAGES, VAL_IMAGES = 1000, 500  # at most: those the probe is fitted on, those that all is measured on
STRENGTHS = 10.0 ** np.arange(-2, 3)  # of the ridge, times the features' mean square
HELD_OUT = 5  # one part in so many of the training images chooses the strength
_BATCH = 125


class Features(NamedTuple):
    """Both branches on some images; Ĝ and Ĝ_k are None for a row without a second branch."""

    joints: Tensor  # [B,H,J,3] metres, the true ones
    G: Tensor  # [B,H,N,F]
    G_k: Tensor  # [B,H,N,F_k]
    G_hat: Tensor | None = None
    G_hat_k: Tensor | None = None


class Inspection(NamedTuple):
    """What one trained row makes of training and validation images.

    `initial` is None where the weights were pretrained, which would have to be fetched again. `others` are
    pairs of images of different subjects; of different frames, where there is one subject.
    """

    train: Features  # the probe is fitted on these
    val: Features  # all is measured on these
    initial: Tensor | None  # [B,H,N,F_k] G_k of the validation images at the initial weights
    positions: np.ndarray  # [B] of the validation images in the store
    others: np.ndarray  # [B,B] bool


def write_features(trained: Trained, *, store: Path, out: Path) -> None:
    """Measure a trained row's features, on the device it is on, and write them as out/features.csv."""
    table = pd.DataFrame([measure_features(inspect_features(trained, store))])
    write_file(out / "features.csv", table.to_csv(index=False, float_format="%.6g"))


def inspect_features(trained: Trained, store: Path) -> Inspection:
    """Run a trained row over some images of the stores train/ and val/."""
    train, val = Store(store / "train").check(), Store(store / "val").check()
    fitted = evenly(len(train), min(TRAIN_IMAGES, len(train)))
    positions = evenly(len(val), min(VAL_IMAGES, len(val)))
    differ = lambda column: np.not_equal.outer(column, column)
    images = val.table.iloc[positions]
    others = differ(images["subject"].to_numpy())
    initial = None
    # The weights that this seed's training starts from are those of every row.
    if trained.config.encoder.weights == RANDOM:
        hands = copy.deepcopy(trained.hands).cpu()  # the hierarchy of meshes is built there
        start = TrainingModule(get_row("baseline"), trained.config, hands, seed=trained.info["seed"])
        network = start.network.eval().to(trained.hands.template.device)
        initial = collect_features(trained._replace(network=network, dgclnet=None), val, positions).G_k
    return Inspection(
        train=collect_features(trained, train, fitted),
        val=collect_features(trained, val, positions),
        initial=initial,
        positions=positions,
        others=others if others.any() else differ(images["frame"].to_numpy()),
    )


@torch.inference_mode()
def collect_features(trained: Trained, store: Store, indices: Indices) -> Features:
    """Both branches of a trained row on images of a store, on the device it is on; the result is on the CPU.

    Disturbances are drawn with the row's seed, a graph with changed edges anew for each batch.
    """
    network, hands, dgclnet = trained.network, trained.hands, trained.dgclnet
    side, generator, parts = network.graph_side, torch.Generator().manual_seed(trained.info["seed"]), []
    for start in range(0, len(indices), _BATCH):
        raw = store.batch(indices[start : start + _BATCH]).to(hands.template.device)
        batch = with_joints(raw, hands)
        G = side.graph(network.encoder(batch.image))
        if dgclnet is None or dgclnet.disturbance is None:
            part = [batch.joints, G, side.gcn(G)]
        else:
            both = dgclnet.branches(side, G, generator)
            part = [batch.joints, both.G, both.G_k, both.G_hat, both.G_hat_k]
        parts.append([value.cpu() for value in part])
    return Features(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.inference_mode()
def measure_features(found: Inspection) -> dict[str, float]:
    """The columns of features.csv that are defined for a row; what so few images cannot say is left out."""
    joints, G, G_k, G_hat, G_hat_k = found.val
    measured = probe_errors(found.train, found.val)
    measured |= monitors(G_k, joints, G, G if G_hat is None else G_hat)
    measured["uniformity"] = uniformity(embed(G_k))
    if G_hat is None:
        del measured["cos_disturbed"]
    else:
        measured["alignment"] = alignment(embed(G_k), embed(G_hat_k))
        measured["uniformity_disturbed"] = uniformity(embed(G_hat_k))
        measured["effective_rank_disturbed"] = monitors(G_hat_k, joints)["effective_rank"]
    if found.initial is not None:
        measured["pose_correlation_before"] = pair_correlation(embed(found.initial), embed_pose(joints))
    if found.others.any(1).all():
        measured |= neighbour_errors(*similarities(G_k, joints), joints, found.others)
    return {name: float(value) for name, value in measured.items() if math.isfinite(value)}


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of positive pairs, unit vectors `[B, D]` (Wang & Isola, ICML 2020, eq. 7)."""
    return (x - y).square().sum(1).mean()


def uniformity(x: Tensor) -> Tensor:
    """Log of the mean Gaussian potential of all pairs of unit vectors `[B, D]` (ibid., eq. 8, t = 2)."""
    return torch.pdist(x).square().mul(-2).exp().mean().log()


def similarities(G_k: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """S_p and S_g `[B, B]` (eqs. 5 and 6) among some images, from G_k and the true joints `[B, H, J, 3]`."""
    query, pose = embed(G_k), embed_pose(joints)
    return similarity(query @ query.T), similarity(pose @ pose.T)


def probe_errors(train: Features, val: Features) -> dict[str, float]:
    """How well the pose can be read linearly from G and Ĝ: fitted on some images, measured on others.

    The pose is that of `contrast.embed_pose`, before its centring, read for each hand from its own graph
    as J_k (eq. 4) is. The error is Euclidean, mean over joints, hands and images, in mm by the true bone.
    """
    poses, truth = (unit_poses(features.joints).flatten(2).numpy() for features in (train, val))
    unit_mm = MM * bone_scale(val.joints)[..., 0].numpy()  # [B,H,1]
    in_points = lambda flat: flat.reshape(*flat.shape[:-1], -1, 3)
    error = lambda read: float((np.linalg.norm(in_points(read - truth), axis=-1) * unit_mm).mean())
    measured = {"probe_none_mm": error(poses.mean(0))}
    for name, field in (("graph", "G"), ("disturbed", "G_hat")):
        if getattr(val, field) is None:
            continue
        read = probe(*(x.flatten(2).numpy() for x in (getattr(train, field), getattr(val, field))), poses)
        with np.errstate(divide="ignore"):  # one image has no variance
            left = np.square(read - truth).sum() / np.square(truth - truth.mean(0)).sum()
        measured |= {f"probe_{name}_mm": error(read), f"probe_{name}_r2": float(1 - left)}
    return measured


def unit_poses(joints: Tensor) -> Tensor:
    """Joints `[B, H, J, 3]` with the root at the origin, in bone lengths, double precision."""
    return root_aligned(joints, joints).double()


def probe(x: np.ndarray, new: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ridge regression, one for each hand, its strength chosen on the last fifth of the images.

    Args:
        x: `[n, H, D]` features to fit.
        new: `[m, H, D]` features to read.
        y: `[n, H, K]` what is to be read from x.

    Returns:
        `[m, H, K]`, read from `new`.
    """
    held_out, everything = max(1, len(x) // HELD_OUT), np.arange(len(x))
    split = (everything[: max(1, len(x) - held_out)], everything[-held_out:])
    read = np.empty((len(new), *y.shape[1:]))
    for hand in range(x.shape[1]):
        features = x[:, hand].astype(np.float64)
        mean_square = max(features.var(0).sum(), 1e-12)
        ridge = RidgeCV(STRENGTHS * mean_square, cv=[split], scoring="neg_mean_squared_error")
        read[:, hand] = ridge.fit(features, y[:, hand]).predict(new[:, hand].astype(np.float64))
    return read


def neighbour_errors(S_p: Tensor, S_g: Tensor, joints: Tensor, others: np.ndarray) -> dict[str, float]:
    """Distances in mm, mean over joints, hands and images, to the poses of images that are most similar."""
    poses, unit_mm = unit_poses(joints), MM * bone_scale(joints)[..., 0]  # [B,H,J,3], [B,H,1]
    to = lambda pose: ((pose - poses).norm(dim=-1) * unit_mm).mean((1, 2))
    distance = torch.stack([to(pose) for pose in poses], 1).numpy()  # [B,B]
    images = np.arange(len(poses))
    return {
        "neighbour_mm": float(distance[images, nearest(S_p, others)].mean()),
        "neighbour_best_mm": float(distance[images, nearest(S_g, others)].mean()),
        "neighbour_chance_mm": float(distance[others].mean()),
    }


def nearest(similar: Tensor, others: np.ndarray) -> np.ndarray:
    """The image most similar to each among its `others`, `[B]`; both arguments are `[B, B]`."""
    return np.where(others, similar.numpy(), -np.inf).argmax(1)


def off_diagonal(matrix: Tensor) -> np.ndarray:
    """The entries of a square matrix off its diagonal: pairs of different images."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)].numpy()
