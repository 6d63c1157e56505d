"""Cameras: world to camera, perspective projection, the square crop. Pixel centres stand at +0.5."""

import numpy as np
import torch
from torch import Tensor

from handdgcl.hands.topology import SCALE_BONE


def world_to_camera(points: Tensor, rotation: Tensor, position: Tensor) -> Tensor:
    """X_c = R (X_w - position), InterHand2.6M's convention (camrot, campos).

    Args:
        points: `[..., P, 3]` in the unit of `position`.
        rotation: `[..., 3, 3]`.
        position: `[..., 3]` of the camera in the world.

    Returns:
        `[..., P, 3]`: x right, y down, z forward.
    """
    return (points - position[..., None, :]) @ rotation.transpose(-1, -2)


def intrinsic_matrix(focal: np.ndarray, principal: np.ndarray) -> np.ndarray:
    """K `[3, 3]` from focal lengths `[2]` and principal point `[2]` in px."""
    return np.array([[focal[0], 0, principal[0]], [0, focal[1], principal[1]], [0, 0, 1]], dtype=np.float64)


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Perspective projection.

    Args:
        points: `[..., P, 3]` camera frame, z > 0.
        intrinsics: `[..., 3, 3]`, broadcast over the leading axes of `points`.

    Returns:
        `[..., P, 2]` px.
    """
    homogeneous = points @ intrinsics.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def square_crop(points_2d: np.ndarray, *, fill: float, size: int) -> np.ndarray:
    """The affine map of the benchmark's crop: a square around the points, which fill a share of it.

    Args:
        points_2d: `[..., P, 2]` px of the full image, both hands' projected vertices.
        fill: share of the crop's side that the longer side of their bounding box takes (0.8).
        size: side S of the crop in px.

    Returns:
        `[..., 2, 3]`: full-image px to crop px (scale and translation; IntagHand, Li et al. 2022).
    """
    low, high = points_2d.min(-2), points_2d.max(-2)
    scale = size * fill / np.maximum((high - low).max(-1), 1e-6)
    crop = np.zeros((*scale.shape, 2, 3))
    crop[..., 0, 0] = crop[..., 1, 1] = scale
    crop[..., 2] = size / 2 - scale[..., None] * ((low + high) / 2)
    return crop


def crop_intrinsics(intrinsics: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """K of the crop: the crop's affine map after the camera's own K; both `[3, 3]` px."""
    return np.vstack([crop, [0, 0, 1]]) @ intrinsics


def bone_scale(joints: Tensor) -> Tensor:
    """|J9 - J0|, the middle metacarpal: the unit of length of Tables 1-2.

    Args:
        joints: `[..., J, 3]`.

    Returns:
        `[..., 1, 1]`, the unit of `joints`, ready to divide points by.
    """
    start, end = SCALE_BONE
    return torch.linalg.vector_norm(joints[..., end, :] - joints[..., start, :], dim=-1)[..., None, None]
