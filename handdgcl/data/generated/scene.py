"""The studio: cameras around the hands, and how a pair is set up in front of them. Lengths are mm.

World: y up, z from the person towards the middle of the cameras.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from handdgcl.data.generated.arm import arm_axis
from handdgcl.data.generated.placement import Pair, Placer
from handdgcl.hands.topology import HANDS, LEFT, RIGHT

SIZES = ((512, 334), (334, 512))  # width, height of the data set's images
_MARGIN_PX = 3
_AZIMUTH_DEG = 20  # cameras stand in front of the person, at most so far to either side
_ELEVATION_DEG = (0, 30)
_ROLL_DEG = 5
_ATTEMPTS = 12
_MAX_FORESHORTENING = 0.8  # cosine: arms that point at a camera would hide the hands


@dataclass
class Camera:
    """One camera of a capture, InterHand2.6M's convention: X_c = R (X_w - position).

    Attributes:
        name: its number, as the data set writes it.
        width, height: px.
        rotation: `[3, 3]` rows x right, y down, z forward.
        position: `[3]` mm.
        focal, principal: `[2]` px.
    """

    name: str
    width: int
    height: int
    rotation: np.ndarray
    position: np.ndarray
    focal: np.ndarray
    principal: np.ndarray

    def view(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels `[..., 2]` and camera coordinates `[..., 3]` mm of world points `[..., 3]` mm."""
        seen = (points - self.position) @ self.rotation.T
        return seen[..., :2] / seen[..., 2:] * self.focal + self.principal, seen


def random_cameras(random: np.random.Generator, count: int) -> list[Camera]:
    """The cameras of one capture: spread around the front, at various distances, all aimed at the hands."""
    shares = (np.arange(count) + random.uniform(0, 1, count)) / count
    azimuth = np.radians(_AZIMUTH_DEG * (2 * shares - 1))
    elevation = np.radians(random.uniform(*_ELEVATION_DEG, count))
    distance = random.uniform(550, 1100, (count, 1))
    flat = np.cos(elevation)
    away = np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], axis=1)
    position = distance * away
    forward = _unit(random.normal(0, 12, (count, 3)) - position)
    right = _unit(np.cross(forward, [0, 1, 0]))
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    roll = Rotation.from_rotvec(random.normal(0, _ROLL_DEG, (count, 1)) * [0, 0, 1], degrees=True)
    size = np.array(SIZES)[random.integers(len(SIZES), size=count)]
    focal = random.uniform(0.75, 1.15, (count, 1)) * distance  # px per mm at the hands x distance
    fields = zip(
        size.tolist(),
        (roll.as_matrix() @ rotation).round(8),
        position.round(4),
        (focal * random.uniform(0.998, 1.002, (count, 2))).round(4),
        (size / 2 + random.normal(0, 6, (count, 2))).round(4),
        strict=True,
    )
    return [Camera(str(400000 + k), *size, *rest) for k, (size, *rest) in enumerate(fields)]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def stage(placer: Placer, pair: Pair, cameras: list[Camera], random: np.random.Generator) -> Pair | None:
    """The pair set up before the cameras: arms come from the person, all of both hands is in every image.

    Returns:
        The moved pair, or None if no attempt fits.
    """
    arms = [arm_axis(pair.vertices[h], hand=h) for h in range(len(HANDS))]
    starts, axes = (np.stack(parts) for parts in zip(*arms, strict=True))
    towards = _unit(np.stack([camera.position for camera in cameras]))
    points = pair.vertices.reshape(-1, 3)
    for turn in _upright(axes, starts, random):
        shift = random.normal(0, 12, 3)
        if (axes @ turn.T @ towards.T).max() >= _MAX_FORESHORTENING:
            continue
        turned = points @ turn.T
        shift = shift - (turned.max(0) + turned.min(0)) / 2
        if all(_framed(turned + shift, camera) for camera in cameras):
            return placer.moved(pair, Rotation.from_matrix(turn), shift)
    return None


def _upright(axes: np.ndarray, starts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turns `[12, 3, 3]` that bring the elbows beside each other, below and behind the hands."""
    elbow = starts + 250 * axes
    down, side = axes[LEFT] + axes[RIGHT], elbow[RIGHT] - elbow[LEFT]
    target_down = np.array([0, -1, -0.35]) + random.normal(0, 0.15, (_ATTEMPTS, 3))
    target_side = np.array([-1, 0, 0]) + random.normal(0, 0.15, (_ATTEMPTS, 3))  # facing the cameras
    return _frame(target_side, target_down) @ _frame(side, down).T


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed orthonormal columns `[..., 3, 3]`: along one, along the rest of the other, across both."""
    a = _unit(first)
    b = _unit(second - a * (a * second).sum(-1, keepdims=True))
    return np.stack([a, b, np.cross(a, b)], axis=-1)


def _framed(points: np.ndarray, camera: Camera) -> bool:
    """Whether all points are in the image and before the camera."""
    pixels, seen = camera.view(points)
    low, high = pixels.min(0), pixels.max(0)
    size = [camera.width - _MARGIN_PX, camera.height - _MARGIN_PX]
    return bool((low > _MARGIN_PX).all() and (high < size).all() and seen[:, 2].min() > 100)
