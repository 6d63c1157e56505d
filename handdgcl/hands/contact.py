"""Hands as solids: what is inside, how deep, how far from the surface, and what volume two hands share.

Depth and distance are exact: closest points on the triangles, inside by the generalised winding number
(Jacobson et al. 2013, as in libigl). The volume is that of Manifold's boolean intersection.
"""

from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np
import torch
from manifold3d import Error, Manifold, Mesh64

from handdgcl.hands.mano import Hands
from handdgcl.hands.raster import vertex_normals
from handdgcl.hands.topology import HANDS, WRIST_LOOP, closed_faces

CONTACT_MM = 3.0  # a vertex at most this far from the other hand touches it
_INSIDE = 0.5  # winding number: 0 outside, 1 inside
_MARGIN = 1e-3  # mm around the intersection's box: more than the boolean's rounding
_MM3_PER_CM3 = 1000.0


def seal(vertices: np.ndarray) -> np.ndarray:
    """Vertices `[..., V, 3]` with the centre of the wrist appended, for `closed_faces`."""
    return np.concatenate([vertices, vertices[..., list(WRIST_LOOP), :].mean(-2, keepdims=True)], axis=-2)


def sealed_faces(hands: Hands) -> list[np.ndarray]:
    """The closed faces `[F + 16, 3]` of each hand, int64."""
    return [closed_faces(hands.faces[h].cpu().numpy(), hand=h) for h in range(len(HANDS))]


class Solid:
    """One closed surface that answers many queries.

    Args:
        vertices: `[P, 3]` in any unit.
        faces: `[F, 3]` int64, watertight, outward orientation.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray):
        self.vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self.faces = np.ascontiguousarray(faces, dtype=np.int64)
        self.low, self.high = self.vertices.min(0), self.vertices.max(0)

    @cached_property
    def normals(self) -> np.ndarray:
        """`[P, 3]` unit normals of the vertices."""
        return vertex_normals(torch.as_tensor(self.vertices), torch.as_tensor(self.faces)).numpy()

    @cached_property
    def _winding(self) -> igl.FastWindingNumberBVH:
        tree = igl.FastWindingNumberBVH()
        tree.init(self.vertices, self.faces, 1)  # to the first order: within 0.02, the question is 0 or 1
        return tree

    @cached_property
    def _distance(self) -> igl.AABB:
        tree = igl.AABB()
        tree.init(self.vertices, self.faces)
        return tree

    def inside(self, points: np.ndarray) -> np.ndarray:
        """`[N]`: which of the points `[N, 3]` the surface encloses."""
        inside = _within(points, self.low, self.high)  # no others are asked for their winding number
        if inside.any():
            asked = np.ascontiguousarray(points[inside])
            inside[inside] = self._winding.winding_number(asked) > _INSIDE
        return inside

    def closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance `[N]`, face `[N]` and place `[N, 3]` of the surface's point closest to each `[N, 3]`."""
        tree, points = self._distance, np.ascontiguousarray(points)
        squared, face, place = tree.squared_distance(self.vertices, self.faces, points)
        return np.sqrt(squared), face, place

    def depth_and_distance(self, points: np.ndarray, *, reach: float) -> tuple[float, float]:
        """Greatest depth of the points `[N, 3]` inside and least distance of those outside.

        Points further than `reach` from the bounding box are left out; the distance is at most `reach`.
        """
        near = points[_within(points, self.low - reach, self.high + reach)]
        if not len(near):
            return 0.0, reach
        distance, inside = self.closest(near)[0], self.inside(near)
        depth = distance[inside].max(initial=0.0)
        return float(depth), 0.0 if inside.any() else float(distance.min(initial=reach))


def pair_contact(vertices: np.ndarray, faces: list[np.ndarray]) -> dict[str, float]:
    """Depth and distance of a pair.

    Args:
        vertices: `[H, V, 3]` mm.
        faces: `sealed_faces`.

    Returns:
        `penetration_mm`: greatest depth of a vertex of one hand in the other, 0 = none.
        `distance_mm`: least distance of a vertex to the other surface, 0 if any is inside.
    """
    sealed = seal(vertices)
    # At most as far as from one point of a hand to the nearest of the other.
    start = vertices[1][np.linalg.norm(vertices[1] - vertices[0].mean(0), axis=1).argmin()]
    reach = float(np.linalg.norm(vertices[0] - start, axis=1).min())
    found = [
        Solid(sealed[h], faces[h]).depth_and_distance(vertices[1 - h], reach=reach) for h in range(len(HANDS))
    ]
    return {"penetration_mm": max(d for d, _ in found), "distance_mm": min(d for _, d in found)}


@dataclass
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
    face, place = np.zeros(outside.shape, np.int64), np.zeros(vertices.shape)
    found = Closeness(0.0, 0.0, outside, outside.copy(), face, place)
    low, high = sealed.min(1), sealed.max(1)
    if (low.max(0) > high.min(0) + CONTACT_MM).any():
        return found  # the boxes are apart, so are the hands
    volume, box = _intersection(sealed, faces)
    found.volume_cm3 = volume / _MM3_PER_CM3
    for h, points in enumerate(vertices):
        reach = CONTACT_MM if contacts else 0.0
        near = _within(points, low[1 - h] - reach, high[1 - h] + reach)
        in_box = _within(points, *box) & near
        near = (near if contacts else in_box).nonzero()[0]
        if not len(near):
            continue
        surface = Solid(sealed[1 - h], faces[1 - h])
        distance, face, place = surface.closest(points[near])
        inside = in_box[near]
        inside[inside] = surface.inside(points[near[inside]])
        found.depth_mm = float(distance[inside].max(initial=found.depth_mm))
        outside[h, near] = np.where(inside, 0.0, np.where(distance <= CONTACT_MM, distance, np.inf))
        found.distance[h, near], found.face[h, near], found.place[h, near] = distance, face, place
    return found


def _within(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which points `[N, 3]` lie in a box."""
    return ((points >= low) & (points <= high)).all(1)


def _intersection(sealed: np.ndarray, faces: list[np.ndarray]) -> tuple[float, tuple]:
    """Volume in mm³ that both solids fill, NaN where Manifold refuses them, and a box around it."""
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
