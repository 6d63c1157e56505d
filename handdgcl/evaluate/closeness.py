"""How deep two solid hands stand in each other, with what volume, and how far apart they are elsewhere."""

from dataclasses import dataclass, replace

import numpy as np
from manifold3d import Error, Manifold, Mesh64

from handdgcl.hands.solid import Solid

CONTACT_MM = 3.0
_MARGIN = 1e-3  # mm around the intersection's box: more than the boolean's rounding
_MM3_PER_CM3 = 1000.0


@dataclass(frozen=True)
class Closeness:
    """Depth and volume of a pair, and how far each vertex `[H, V]` is outside the other hand.

    `outside` is 0 inside and inf further than `CONTACT_MM`; `distance`, `face` and `place` belong to the
    closest point where `outside` is finite.
    """

    depth_mm: float
    volume_cm3: float
    outside: np.ndarray
    distance: np.ndarray
    face: np.ndarray
    place: np.ndarray


def closeness(sealed: np.ndarray, faces: list[np.ndarray], *, contacts: bool) -> Closeness:
    """Measure a pair of solids `[H, V + 1, 3]` mm; without `contacts`, depth and volume alone."""
    vertices = sealed[:, :-1]
    outside = np.full(vertices.shape[:2], np.inf)
    found = Closeness(
        depth_mm=0.0,
        volume_cm3=0.0,
        outside=outside,
        distance=outside.copy(),
        face=np.zeros(outside.shape, np.int64),
        place=np.zeros(vertices.shape),
    )
    low, high = sealed.min(1), sealed.max(1)
    if (low.max(0) > high.min(0) + CONTACT_MM).any():
        return found  # the boxes are apart, so are the hands
    volume, box = _intersection(sealed, faces)
    depth = 0.0
    for h, points in enumerate(vertices):
        reach = CONTACT_MM if contacts else 0.0
        near = _within(points, low[1 - h] - reach, high[1 - h] + reach)
        in_box = _within(points, *box) & near
        near = (near if contacts else in_box).nonzero()[0]
        if not len(near):
            continue
        surface = Solid(sealed[1 - h], faces[1 - h])
        distance, face, place = surface.closest(points[near])
        inside = np.zeros(len(near), bool)
        candidates = in_box[near]
        inside[candidates] = surface.inside(points[near[candidates]])
        depth = max(depth, distance[inside].max(initial=0.0))
        outside[h, near] = np.where(inside, 0.0, np.where(distance <= CONTACT_MM, distance, np.inf))
        found.distance[h, near], found.face[h, near], found.place[h, near] = distance, face, place
    return replace(found, depth_mm=float(depth), volume_cm3=volume / _MM3_PER_CM3)


def _within(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which points `[N, 3]` lie in a box."""
    return ((points >= low) & (points <= high)).all(1)


def _intersection(sealed: np.ndarray, faces: list[np.ndarray]) -> tuple[float, tuple]:
    """Volume in mm³ that both solids fill, NaN if it cannot be had, and a box that contains it."""
    everywhere = np.full(3, -np.inf), np.full(3, np.inf)
    solids = [
        Manifold(Mesh64(np.ascontiguousarray(points), corners.astype(np.uint64)))
        for points, corners in zip(sealed, faces, strict=True)
    ]
    common = solids[0] ^ solids[1]
    if any(solid.status() != Error.NoError for solid in (*solids, common)):
        return np.nan, everywhere
    if common.is_empty():
        return 0.0, everywhere[::-1]
    volume = common.volume()
    if not 0 <= volume <= min(solid.volume() for solid in solids):
        return np.nan, everywhere
    bounds = np.array(common.bounding_box())
    return volume, (bounds[:3] - _MARGIN, bounds[3:] + _MARGIN)
