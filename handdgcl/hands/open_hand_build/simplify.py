"""Mesh simplification to an exact vertex count, by half-edge collapses that keep a subset of vertices.

Kept vertices keep their place, so skinning weights and shape targets carry over without resampling.
The cost is the quadric error (Garland and Heckbert 1997) averaged over several poses of the mesh, so
that a fist is kept as well as a flat hand, plus a term that avoids long edges.
"""

import heapq
from collections import Counter

import numpy as np

MAX_VALENCE = 9
MIN_ANGLE_DEG = 15.0
_MIN_NORMAL_COSINE = 0.3
_LENGTH_WEIGHT = 0.01  # of edge length ^ 4, against area-weighted squared distances; mm
_LOOP_LENGTH_WEIGHT = 0.15  # of edge length, against the distance from the loop


class Mesh:
    """Triangles and the triangles around each vertex, under collapses."""

    def __init__(self, faces: np.ndarray, vertex_count: int):
        self.faces = {i: tuple(face) for i, face in enumerate(faces.tolist())}
        self.around = [set() for _ in range(vertex_count)]
        for i, face in self.faces.items():
            for v in face:
                self.around[v].add(i)
        sides = Counter(frozenset(side) for face in self.faces.values() for side in _sides(face))
        self.boundary = {v for side, uses in sides.items() if uses == 1 for v in side}

    @property
    def vertices(self) -> list[int]:
        """Vertices that still have a face, ascending."""
        return [v for v, faces in enumerate(self.around) if faces]

    def neighbours(self, v: int) -> set[int]:
        """Vertices that share a face with `v`."""
        return {w for i in self.around[v] for w in self.faces[i]} - {v}

    def shared(self, u: int, v: int) -> set[int]:
        """Faces that hold both."""
        return self.around[u] & self.around[v]

    def collapse(self, u: int, v: int) -> None:
        """Remove `u` by moving it onto `v`."""
        for i in self.shared(u, v):
            for w in self.faces.pop(i):
                self.around[w].discard(i)
        for i in self.around[u]:
            self.faces[i] = _replaced(self.faces[i], u, v)
            self.around[v].add(i)
        self.around[u].clear()
        self.boundary.discard(u)

    def stays_manifold(self, u: int, v: int) -> bool:
        """Whether the collapse of `u` into `v` leaves a manifold mesh and the boundary's course."""
        on_boundary = u in self.boundary
        shared, common = self.shared(u, v), self.neighbours(u) & self.neighbours(v)
        if len(shared) != (1 if on_boundary else 2) or len(common) != len(shared):
            return False  # the second: the link condition
        valence = len(self.neighbours(u) | self.neighbours(v)) - 2
        if not on_boundary and valence > MAX_VALENCE:
            return False
        return all(len(self.around[w]) > (2 if w in self.boundary else 3) for w in common)


def simplify(
    points: np.ndarray, faces: np.ndarray, *, vertex_count: int, boundary_count: int, keep: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Simplify a mesh with one boundary loop.

    Args:
        points: `[P, V, 3]` mm, the same mesh in several poses; the first decides on angles.
        faces: `[F, 3]`.
        vertex_count: vertices to keep.
        boundary_count: of these, on the boundary.
        keep: vertices that must stay.

    Returns:
        Kept vertices `[vertex_count]`, ascending, and faces `[F', 3]` in the old numbers.

    Raises:
        RuntimeError: no collapse is left that keeps the mesh well shaped.
    """
    mesh = Mesh(faces, points.shape[1])
    _thin_boundary(mesh, points, boundary_count, set(keep))
    _thin_interior(mesh, points, faces, vertex_count, set(keep))
    return np.array(mesh.vertices), np.array([mesh.faces[i] for i in sorted(mesh.faces)])


def _thin_boundary(mesh: Mesh, points: np.ndarray, count: int, keep: set[int]) -> None:
    """Drop boundary vertices, first the one whose loss changes the loop least."""
    while len(mesh.boundary) > count:
        candidates = []
        for u in mesh.boundary - keep:
            ends = sorted(w for w in mesh.neighbours(u) & mesh.boundary if len(mesh.shared(u, w)) == 1)
            if len(ends) == 2:
                a, b = points[0, ends]
                offset = np.linalg.norm(np.cross(points[0, u] - a, b - a)) / np.linalg.norm(b - a)
                lengths = np.linalg.norm(points[0, u] - points[0, ends], axis=1)
                candidates += zip(offset + _LOOP_LENGTH_WEIGHT * lengths, (u, u), ends, strict=True)
        for _, u, v in sorted(candidates):
            if mesh.stays_manifold(u, v) and stays_well_shaped(mesh, points, u, v):
                mesh.collapse(u, v)
                break
        else:
            raise RuntimeError(f"the boundary cannot be reduced below {len(mesh.boundary)} vertices")


def _thin_interior(mesh: Mesh, points: np.ndarray, faces: np.ndarray, count: int, keep: set[int]) -> None:
    """Collapse inner edges in the order of their cost, until `count` vertices are left."""
    quadrics = _quadrics(points, faces)
    version = np.zeros(points.shape[1], int)  # of a vertex's quadric: older costs are void
    heap = []

    def push(vertex: int) -> None:
        for w in mesh.neighbours(vertex):
            for u, v in ((vertex, w), (w, vertex)):
                if u not in mesh.boundary and u not in keep:
                    cost = _cost(points[:, u], points[:, v], quadrics[:, u] + quadrics[:, v])
                    heapq.heappush(heap, (cost, u, v, version[u], version[v]))

    remaining = mesh.vertices
    for vertex in remaining:
        push(vertex)
    left = len(remaining)
    while left > count:
        if not heap:
            raise RuntimeError(f"the mesh cannot be reduced below {left} vertices")
        _, u, v, version_u, version_v = heapq.heappop(heap)
        current = mesh.around[u] and mesh.around[v] and (version[u], version[v]) == (version_u, version_v)
        if current and mesh.stays_manifold(u, v) and stays_well_shaped(mesh, points, u, v):
            mesh.collapse(u, v)
            quadrics[:, v] += quadrics[:, u]
            version[v] += 1
            left -= 1
            push(v)


def stays_well_shaped(mesh: Mesh, points: np.ndarray, u: int, v: int) -> bool:
    """Whether no face around `u` flips in any pose, or gets too sharp in the first, when it moves to `v`."""
    for i in mesh.around[u] - mesh.shared(u, v):
        before, after = mesh.faces[i], _replaced(mesh.faces[i], u, v)
        normal, moved = _normals(points[:, before]), _normals(points[:, after])
        size = np.linalg.norm(moved, axis=-1)
        cosine_bound = _MIN_NORMAL_COSINE * np.linalg.norm(normal, axis=-1) * size
        if (size < 1e-9).any() or ((normal * moved).sum(-1) < cosine_bound).any():
            return False
        if min_angle_deg(points[0, after]) < min(MIN_ANGLE_DEG, min_angle_deg(points[0, before])):
            return False
    return True


def min_angle_deg(triangle: np.ndarray) -> float:
    """The smallest angle of a triangle `[3, 3]`, degrees."""
    sides = np.roll(triangle, -1, axis=0) - triangle
    sides = sides / np.linalg.norm(sides, axis=1, keepdims=True)
    cosines = -(sides * np.roll(sides, 1, axis=0)).sum(1)
    return float(np.degrees(np.arccos(np.clip(cosines.max(), -1, 1))))


def _quadrics(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted sum of squared distances to the planes at each vertex, `[P, V, 4, 4]`."""
    normal = _normals(points[:, faces])  # [P,F,3]
    area = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = normal / np.maximum(area, 1e-12)
    offset = -(normal * points[:, faces[:, 0]]).sum(-1, keepdims=True)
    plane = np.concatenate([normal, offset], -1)
    quadric = plane[..., :, None] * plane[..., None, :] * (area / 2)[..., None]
    total = np.zeros((*points.shape[:2], 4, 4))
    for corner in faces.T:
        np.add.at(total, (slice(None), corner), quadric)
    return total


def _cost(u: np.ndarray, v: np.ndarray, quadric: np.ndarray) -> float:
    """Mean over the poses of the error of moving `u [P, 3]` onto `v [P, 3]`."""
    place = np.concatenate([v, np.ones((len(v), 1))], 1)
    error = np.einsum("pi,pij,pj->p", place, quadric, place).mean()
    length_squared = ((u - v) ** 2).sum(-1).mean()
    return error + _LENGTH_WEIGHT * length_squared**2


def _normals(triangles: np.ndarray) -> np.ndarray:
    """Normals of `[..., 3, 3]`, of twice the triangle's area in length."""
    a, b, c = np.moveaxis(triangles, -2, 0)
    return np.cross(b - a, c - a)


def _sides(face: tuple) -> tuple:
    a, b, c = face
    return (a, b), (b, c), (c, a)


def _replaced(face: tuple, u: int, v: int) -> tuple:
    return tuple(v if w == u else w for w in face)
