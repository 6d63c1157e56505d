"""How one hand is brought to touch the other, and whether a pose enters its own hand."""

import numpy as np
import torch

from handdgcl.hands.raster import rasterize
from handdgcl.hands.solid import Solid


def separation(
    fixed: np.ndarray, moving: np.ndarray, faces: list[np.ndarray], direction: np.ndarray
) -> float:
    """How far `moving` must go along `direction` until it touches `fixed` from that side.

    Two height maps along the direction give the offset of first contact for a hand that comes from
    far away; nothing penetrates there, up to the maps' resolution of 1 mm.

    Args:
        fixed, moving: `[V + 1, 3]` mm, sealed.
        faces: of the two, in this order.
        direction: `[3]` unit vector.

    Returns:
        The offset in mm; -inf where the two never meet along the direction.
    """
    axes = np.linalg.svd(direction[None])[2]  # rows: the direction (up to sign) and two across it
    across = axes[1:].T  # [3,2]
    points = [fixed @ across, moving @ across]
    low = np.maximum(points[0].min(0), points[1].min(0))
    width, height = np.ceil(np.minimum(points[0].max(0), points[1].max(0)) - low).astype(int)
    if width < 1 or height < 1:
        return -np.inf
    top = _height_map(points[0] - low, fixed @ direction, faces[0], height, width)
    bottom = -_height_map(points[1] - low, -(moving @ direction), faces[1], height, width)
    return float((top - bottom).max())


def _height_map(points_2d: np.ndarray, level: np.ndarray, faces: np.ndarray, height: int, width: int):
    """Greatest `level` at each pixel `[height, width]`, -inf = background."""
    floor = level.max() + 1e3  # far: the perspective-correct depth is then linear to 0.02 mm
    fragments = rasterize(
        torch.as_tensor(points_2d).float()[None],
        torch.as_tensor(floor - level).float()[None],
        torch.as_tensor(faces),
        height=height,
        width=width,
    )
    depth = fragments.depth[0].numpy()
    return np.where(fragments.face[0].numpy() >= 0, floor - depth, -np.inf)


def self_penetrating(solid: Solid, points: np.ndarray) -> bool:
    """Whether finger tips enter another part of their own hand by more than 1.5 mm.

    Args:
        solid: the sealed hand, mm.
        points: indices of the vertices to test: the distal phalanges, as skin folds at bent joints are
            no intersection.
    """
    outside = solid.vertices[points] + 1.5 * solid.normals[points]
    return int(solid.inside(outside).sum()) > 4
