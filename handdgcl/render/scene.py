"""What is to be rendered: the plan of frames, cameras, light, and how a pair is set up before them.

World: y up, z from the person towards the middle of the cameras. Lengths are mm.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.spatial.transform import Rotation

from handdgcl.config import Generate
from handdgcl.hands.topology import HANDS, LEFT, RIGHT
from handdgcl.render.hands import arm_axis
from handdgcl.render.pairs import Pair

SPLITS = ("train", "val", "test")
HAND_TYPES = {(RIGHT, LEFT): "interacting", (RIGHT,): "right", (LEFT,): "left"}
_FRAMES_PER_CAPTURE = 8  # cameras, light and background change with the capture
_SINGLE_SHARE = 0.02  # frames with one hand only, which the benchmark's selection drops
_SIZES = ((512, 334), (334, 512))  # width, height of the data set's images
_MARGIN_PX = 3
_ELEVATION_DEG = (0, 30)
_ATTEMPTS = 12
_MAX_FORESHORTENING = 0.8  # cosine: arms that point at a camera would hide the hands
# linear RGB of skin from dark to light (after the Fitzpatrick scale), blended between neighbours
_SKIN = np.array(
    [[0.15, 0.08, 0.055], [0.28, 0.16, 0.10], [0.45, 0.28, 0.19], [0.62, 0.42, 0.31], [0.74, 0.53, 0.43]]
)


@dataclass(frozen=True)
class Frame:
    """One moment, seen by all cameras of its capture."""

    split: str
    index: int  # in its split; pairs first
    capture: int  # unique over the splits, as is the subject
    subject: int
    shown: tuple[int, ...]  # hands in the order of the data set: right, left
    touching: bool  # the hands must touch


def plan(generate: Generate) -> list[Frame]:
    """All frames: pairs for at least the wanted images, the quota of touching ones, and single hands."""
    frames, captures, subjects = [], 0, 0
    for split in SPLITS:
        pairs = ceil(getattr(generate.images, split) / generate.cameras)
        singles = ceil(_SINGLE_SHARE * pairs)
        people = getattr(generate.subjects, split)
        visits = max(ceil(pairs / _FRAMES_PER_CAPTURE), min(people, pairs))
        for index in range(pairs + singles):
            capture = index % visits
            frame = Frame(
                split=split,
                index=index,
                capture=captures + capture,
                subject=subjects + capture % people,
                shown=(RIGHT, LEFT) if index < pairs else ((RIGHT,), (LEFT,))[index % 2],
                touching=ceil((index + 1) * generate.interacting) > ceil(index * generate.interacting),
            )
            frames.append(frame)
        captures, subjects = captures + visits, subjects + people
    return frames


@dataclass
class Camera:
    """One camera of a capture, InterHand2.6M's convention: X_c = R (X_w - position)."""

    name: str  # its number, as the data set writes it
    width: int  # px
    height: int
    rotation: np.ndarray  # [3,3] rows x right, y down, z forward
    position: np.ndarray  # [3] mm
    focal: np.ndarray  # [2] px
    principal: np.ndarray  # [2] px

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels `[..., 2]` and camera coordinates `[..., 3]` mm of world points `[..., 3]` mm."""
        seen = (points - self.position) @ self.rotation.T
        return seen[..., :2] / seen[..., 2:] * self.focal + self.principal, seen


def random_cameras(
    random: np.random.Generator, count: int, *, azimuth_deg: float = 20.0, roll_deg: float = 5.0
) -> list[Camera]:
    """The cameras of one capture, at various distances, all aimed at the hands.

    They are spread to `azimuth_deg` on either side of the front, and turned about their axes by `roll_deg`
    (standard deviation).
    """
    shares = (np.arange(count) + random.uniform(0, 1, count)) / count
    azimuth = np.radians(azimuth_deg * (2 * shares - 1))
    elevation = np.radians(random.uniform(*_ELEVATION_DEG, count))
    distance = random.uniform(550, 1100, (count, 1))
    flat = np.cos(elevation)
    away = np.stack([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], axis=1)
    position = distance * away
    forward = unit(random.normal(0, 12, (count, 3)) - position)
    right = unit(np.cross(forward, [0, 1, 0]))
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    roll = Rotation.from_rotvec(random.normal(0, roll_deg, (count, 1)) * [0, 0, 1], degrees=True)
    size = np.array(_SIZES)[random.integers(len(_SIZES), size=count)]
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


@dataclass
class Appearance:
    """What stays the same over one capture; colours are linear RGB."""

    skin: np.ndarray  # [3]
    cloth: np.ndarray  # [3]
    freckle: np.ndarray  # [4,3] wave vectors of the skin's mottling, 1/mm
    wall: np.ndarray  # [6,8,3] the background's coarse picture
    key: np.ndarray  # [3] direction of the stronger light, in the world
    fill: np.ndarray  # [3] direction of the weaker one
    key_colour: np.ndarray  # [3]
    fill_colour: np.ndarray  # [3]
    ambient: np.ndarray  # [3]


def random_appearance(random: np.random.Generator) -> Appearance:
    """Skin tone, cloth, background and light of one capture."""
    tone = random.uniform(0, len(_SKIN) - 1.001)
    low = int(tone)
    skin = _SKIN[low] * (low + 1 - tone) + _SKIN[low + 1] * (tone - low)
    shadow = random.uniform(0, 0.8)
    wall = random.uniform(0.01, 0.5) * random.uniform(0.75, 1.25, 3)  # grey, rarely coloured
    wall = wall * random.uniform(1 - shadow, 1.15, (6, 8, 1)) + random.normal(0, 0.008, (6, 8, 3))
    tint = random.normal(0, 0.06, 3) * [1, 0.2, -1]
    return Appearance(
        skin=skin * random.uniform(0.93, 1.07, 3),
        cloth=random.uniform(0.03, 0.7) * random.uniform(0.45, 1.15, 3),
        freckle=random.normal(0, 0.12, (4, 3)),
        wall=wall.clip(0.003, 0.95),
        key=np.array([0, 0.6, 0.6]) + random.normal(0, 0.6, 3),
        fill=np.array([0, 0.2, 0.6]) + random.normal(0, 0.8, 3),
        key_colour=random.uniform(0.8, 1.5) * (1 + tint),
        fill_colour=random.uniform(0.15, 0.6) * (1 - tint),
        ambient=random.uniform(0.22, 0.42) * random.uniform(0.92, 1.08, 3),
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors `[..., 3]` of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def stage(pair: Pair, cameras: list[Camera], random: np.random.Generator) -> Pair | None:
    """The pair moved so that arms come from the person and both hands are whole in every image, or None."""
    arms = [arm_axis(pair.vertices[h], hand=h) for h in range(len(HANDS))]
    starts, axes = (np.stack(parts) for parts in zip(*arms, strict=True))
    towards = unit(np.stack([camera.position for camera in cameras]))
    points = pair.vertices.reshape(-1, 3)
    for turn in _upright(axes, starts, random):
        shift = random.normal(0, 12, 3)
        if (axes @ turn.T @ towards.T).max() >= _MAX_FORESHORTENING:
            continue
        turned = points @ turn.T
        shift = shift - (turned.max(0) + turned.min(0)) / 2
        if all(_framed(turned + shift, camera) for camera in cameras):
            return pair.moved(Rotation.from_matrix(turn), shift)
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
    a = unit(first)
    b = unit(second - a * (a * second).sum(-1, keepdims=True))
    return np.stack([a, b, np.cross(a, b)], axis=-1)


def _framed(points: np.ndarray, camera: Camera) -> bool:
    """Whether all points are in the image and before the camera."""
    pixels, seen = camera.project(points)
    low, high = pixels.min(0), pixels.max(0)
    size = [camera.width - _MARGIN_PX, camera.height - _MARGIN_PX]
    return bool((low > _MARGIN_PX).all() and (high < size).all() and seen[:, 2].min() > 100)
