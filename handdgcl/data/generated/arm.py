"""What covers the cut wrist: a forearm that goes on from the hand's own rim, and a sleeve over it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from handdgcl.hands.topology import LEFT, WRIST_LOOP

ARM_RADIUS_MM = 40.0  # for collisions
ARM_LENGTH_MM = 420.0
SKIN, CLOTH = 0, 1
_BARE_RINGS_MM = np.array([12.0, 28.0, 50.0, 80.0, 120.0, 180.0])
_SLEEVE_RINGS = np.array([0.02, 0.05, 0.1, 0.17, 0.26, 0.36, 0.48, 0.6, 0.72, 0.86, 1.0])


@dataclass
class Arm:
    """A tube.

    Attributes:
        vertices: `[A, 3]` mm; the first 16 are the hand's `WRIST_LOOP`.
        faces: `[F, 3]` outward orientation.
        material: `[A]` SKIN or CLOTH.
    """

    vertices: np.ndarray
    faces: np.ndarray
    material: np.ndarray


def arm_axis(vertices: np.ndarray, *, hand: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre `[..., 3]` of the wrist's rim and unit direction `[..., 3]` to the elbow, of `[..., V, 3]`."""
    rim = vertices[..., list(WRIST_LOOP), :]
    centre = rim.mean(-2, keepdims=True)
    area = np.cross(np.roll(rim, 1, axis=-2) - centre, rim - centre).sum(-2)
    if hand == LEFT:
        area = -area
    return centre[..., 0, :], area / np.linalg.norm(area, axis=-1, keepdims=True)


def build_arm(vertices: np.ndarray, random: np.random.Generator, *, hand: int) -> Arm:
    """An arm for one hand: bare skin up to a random place, then a sleeve; both ends are closed.

    Args:
        vertices: `[V, 3]` mm of the hand.
        random: draws the sleeve's start, width and the bend of the wrist.
        hand: `LEFT` or `RIGHT`.
    """
    centre, axis = arm_axis(vertices, hand=hand)
    rim = vertices[list(WRIST_LOOP)] - centre
    bend = random.normal(0, 0.12, 3)
    start = random.uniform(-8, 20) if random.random() < 0.6 else random.uniform(20, 160)
    loose, flare = random.uniform(1.14, 1.4), random.uniform(1.05, 1.5)
    taper = lambda along: 1 + 0.45 * along / ARM_LENGTH_MM
    edge = loose * taper(max(start, 0.0))
    bare = _BARE_RINGS_MM[start + 8 > _BARE_RINGS_MM]
    # under the sleeve, at its mouth, over it: the mouth is closed
    mouth = np.array([start + 8, start + 1, start])
    along = np.concatenate([[0], bare, mouth, start + _SLEEVE_RINGS * (ARM_LENGTH_MM - start)])
    over = edge * (1.03 + (flare - 1) * _SLEEVE_RINGS)
    width = [[1], taper(bare), [taper(start + 8), edge, 1.03 * edge], over]
    turned = Rotation.from_rotvec(np.clip(along / 60, 0, 1)[:, None] * bend)  # the wrist bends over 60 mm
    rings = np.concatenate(width)[:, None, None] * rim + along[:, None, None] * axis
    rings = rings @ turned.as_matrix().transpose(0, 2, 1)
    material = np.where(np.arange(len(along)) <= len(bare), SKIN, CLOTH)
    return _tube(rings + centre, material, hand)


def _tube(rings: np.ndarray, material: np.ndarray, hand: int) -> Arm:
    """Join rings `[N, 16, 3]` by two triangles per cell and close the last."""
    count, size = rings.shape[:2]
    index = np.arange(count * size).reshape(count, size)
    here, there = index[:-1], index[1:]
    before_here, before_there = np.roll(here, 1, axis=1), np.roll(there, 1, axis=1)
    cells = [np.stack([before_here, here, there], -1), np.stack([before_here, there, before_there], -1)]
    end = index[-1]
    cap = np.stack([np.roll(end, 1), end, np.full_like(end, count * size)], -1)
    faces = np.concatenate([c.reshape(-1, 3) for c in (*cells, cap)])
    if hand == LEFT:
        faces = faces[:, [1, 0, 2]]
    vertices = np.concatenate([rings.reshape(-1, 3), rings[-1].mean(0, keepdims=True)])
    return Arm(vertices, faces, np.append(np.repeat(material, size), material[-1]))
