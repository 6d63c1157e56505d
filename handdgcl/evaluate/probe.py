"""How well the pose can be read linearly from a graph's features."""

import numpy as np
from scipy.linalg import solve
from torch import Tensor

from handdgcl.evaluate.branches import Features
from handdgcl.hands.camera import bone_scale
from handdgcl.hands.topology import ROOT_JOINT
from handdgcl.model.metrics import MM

STRENGTHS = 10.0 ** np.arange(-2, 3)  # of the ridge, times the features' mean square
HELD_OUT = 5  # one part in so many of the training images chooses the strength


def probe_errors(fitted: Features, seen: Features) -> dict[str, float]:
    """How well the pose can be read linearly from G and G^: fitted on some images, measured on others.

    The pose is that of `contrast.embed_pose`, before its centring, read for each hand from its own graph
    as J_k (eq. 4) is. The error is Euclidean, mean over joints, hands and images, in mm by the true bone.
    """
    poses, truth = unit_poses(fitted.joints), unit_poses(seen.joints)
    unit_mm = MM * bone_scale(seen.joints)[..., 0].numpy()  # [M,H,1]
    millimetres = lambda read: float(
        (np.linalg.norm((read - truth).reshape(*truth.shape[:2], -1, 3), axis=-1) * unit_mm).mean()
    )
    found = {"probe_none_mm": millimetres(poses.mean(0))}
    for name in ("graph", "disturbed"):
        if getattr(seen, name) is None:
            continue
        x, new = (getattr(features, name).flatten(2).numpy() for features in (fitted, seen))
        read = probe(x, poses, new)
        left = np.square(read - truth).sum() / np.square(truth - truth.mean(0)).sum()
        found |= {f"probe_{name}_mm": millimetres(read), f"probe_{name}_r2": float(1 - left)}
    return found


def unit_poses(joints: Tensor) -> np.ndarray:
    """Joints `[B, H, J, 3]` → root-aligned, in bone lengths, `[B, H, 3 J]`."""
    aligned = (joints - joints[:, :, ROOT_JOINT, None]) / bone_scale(joints)
    return aligned.flatten(2).double().numpy()


def probe(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Ridge regression with an intercept, one for each hand, its strength chosen on the last images.

    Args:
        x: `[n, H, D]` features to fit.
        y: `[n, H, K]` what is to be read from them.
        new: `[m, H, D]` features to read.

    Returns:
        `[m, H, K]`.
    """
    kept = max(1, len(x) - len(x) // HELD_OUT)
    errors = [np.square(read - y[kept:]).sum() for read in ridge(x[:kept], y[:kept], x[kept:], STRENGTHS)]
    return ridge(x, y, new, STRENGTHS[[int(np.argmin(errors))]])[0]


def ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """The readings `[S, m, H, K]` for each strength, of the features' mean square, by the dual form.

    The dual needs a matrix of images by images, whatever the number of features.
    """
    readings = np.empty((len(strengths), len(new), *y.shape[1:]))
    for hand in range(x.shape[1]):
        middle, mean = x[:, hand].mean(0), y[:, hand].mean(0)
        centred = x[:, hand] - middle
        gram, cross = (
            part.astype(float) for part in (centred @ centred.T, (new[:, hand] - middle) @ centred.T)
        )
        size = max(np.trace(gram) / len(gram), np.finfo(float).tiny)
        for k, strength in enumerate(strengths):
            penalty = strength * size * np.eye(len(gram))
            weights = solve(gram + penalty, y[:, hand] - mean, assume_a="pos", check_finite=False)
            readings[k, :, hand] = cross @ weights + mean
    return readings
