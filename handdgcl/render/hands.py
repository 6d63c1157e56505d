"""Single hands: finger poses within joint limits that do not enter their own hand, and the forearm's axis.

A pose is built from anatomical angles (flexion and abduction per joint) and the axes of the hand at
rest. Angles are degrees in MANO's joint order: index, middle, pinky, ring, thumb, three joints each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from handdgcl.hands import Hands
from handdgcl.hands.contact import Solid, seal, sealed_faces
from handdgcl.hands.raster import vertex_normals
from handdgcl.hands.topology import HANDS, JOINTS, LEFT, MIRROR_ROTATION, RIGHT, WRIST_LOOP

_DISTAL_JOINTS = (3, 6, 9, 12, 15)
_OPENINGS = np.array([0.0, 0.12, 0.25, 0.4])  # a pose that enters its own palm is opened by these shares
_POSES_AT_ONCE = 3  # one call of the model costs more than the hands in it
DIP_COUPLING = 0.62  # distal flexion follows the middle joint's, one tendon moves both

# Degrees, (low, high) for the three joints of a finger and of the thumb.
_FINGER_FLEXION = ((-15, 88), (0, 100), (-8, 72))
_THUMB_FLEXION = ((-16, 48), (-12, 62), (-18, 82))
FLEXION_LIMITS = np.array(_FINGER_FLEXION * 4 + _THUMB_FLEXION, dtype=np.float64)  # [15,2]
ABDUCTION_LIMITS = np.zeros((15, 2))
ABDUCTION_LIMITS[[0, 3, 6, 9, 12]] = [(-22, 18), (-18, 18), (-16, 34), (-16, 28), (-36, 34)]

# Named postures in degrees. Per finger: base flexion, middle flexion, abduction (towards the thumb);
# thumb: flexion of its three joints, abduction of the first (towards the palm). The order of the rows is
# index, middle, pinky, ring. At rest the fingers are spread, so a closed hand needs abduction.
_POSTURES = {
    "spread": ([(-4, 0, 10), (-3, 0, 2), (-4, 2, -10), (-3, 0, -5)], (-14, -4, -4, -22)),
    "flat": ([(2, 4, 0), (2, 4, 0), (4, 5, 2), (2, 4, 2)], (-4, 2, 2, -6)),
    "closed": ([(2, 4, -4), (2, 4, 4), (4, 5, 22), (2, 4, 13)], (4, 6, 4, 4)),
    "relaxed": ([(18, 26, -2), (22, 32, 3), (28, 34, 14), (26, 34, 9)], (6, 10, 12, 4)),
    "cup": ([(42, 30, -4), (44, 32, 4), (48, 34, 20), (46, 32, 12)], (6, 14, 12, 12)),
    "hook": ([(6, 78, -3), (6, 82, 4), (8, 74, 18), (6, 78, 11)], (8, 16, 20, 6)),
    "claw": ([(10, 52, 6), (8, 55, 2), (10, 52, -4), (8, 54, -2)], (-6, 14, 30, -4)),
    "grasp": ([(48, 48, 2), (50, 52, 3), (56, 50, 10), (52, 52, 7)], (14, 16, 22, 16)),
    "fist": ([(72, 74, -8), (74, 82, 3), (70, 68, 20), (72, 76, 13)], (24, 26, 40, 14)),
    "point": ([(2, 5, 0), (74, 82, 3), (70, 68, 20), (72, 76, 12)], (22, 24, 34, 14)),
    "thumb up": ([(72, 74, -8), (74, 82, 3), (70, 68, 20), (72, 76, 13)], (-14, -6, -8, -16)),
    "victory": ([(0, 3, 9), (0, 3, -6), (68, 68, 18), (70, 74, 11)], (24, 26, 34, 16)),
    "three": ([(0, 3, 6), (0, 3, 1), (68, 66, 18), (2, 6, -4)], (22, 28, 30, 18)),
    "horns": ([(0, 4, 2), (74, 82, 3), (2, 5, 0), (72, 76, 11)], (22, 26, 32, 15)),
    "pinch": ([(46, 50, 0), (26, 30, 2), (12, 20, 4), (18, 24, 2)], (18, 12, 24, 14)),
    "ok": ([(50, 54, 2), (8, 14, 3), (-2, 4, -4), (2, 8, 0)], (18, 14, 28, 16)),
}


def _posture_angles(fingers: list, thumb: tuple) -> np.ndarray:
    """Rows of `_POSTURES` as angles `[2, 15]` degrees: flexion, abduction."""
    flexion, abduction = np.zeros(15), np.zeros(15)
    for k, (base, middle, side) in enumerate(fingers):
        flexion[3 * k : 3 * k + 3] = base, middle, DIP_COUPLING * middle
        abduction[3 * k] = side
    flexion[12:], abduction[12] = thumb[:3], thumb[3]
    return np.stack([flexion, abduction])


POSTURES = {name: _posture_angles(*rows) for name, rows in _POSTURES.items()}


@dataclass
class PosedHand:
    """One hand at the model's origin."""

    fingers: np.ndarray  # [45] axis-angle, without the mean pose
    solid: Solid  # its sealed surface, mm
    arm: tuple[np.ndarray, np.ndarray]  # its `arm_axis`


def arm_axis(vertices: np.ndarray, *, hand: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre `[3]` of the wrist's rim and unit direction `[3]` to the elbow, from vertices `[V, 3]`."""
    rim = vertices[list(WRIST_LOOP)]
    centre = rim.mean(0)
    area = np.cross(np.roll(rim, 1, axis=0) - centre, rim - centre).sum(0)
    if hand == LEFT:
        area = -area
    return centre, area / np.linalg.norm(area)


class HandSampler:
    """Draws posed hands of one hand model.

    Attributes:
        faces: the closed faces of each hand.
        regions: vertices of each hand's "tip" (distal phalanges), "finger", "palm" and "back".
    """

    def __init__(self, hands: Hands):
        self.hands, self.faces = hands, sealed_faces(hands)
        self.regions = [_regions(hands, h) for h in range(len(HANDS))]
        axes = _rest_axes(hands)
        self.axes = np.stack([axes * MIRROR_ROTATION, axes])  # [H,15,2,3]
        self.mean = hands.hands_mean.double().cpu().numpy()  # [H,45]

    def fingers(self, angles: np.ndarray, *, hand: int) -> np.ndarray:
        """Finger pose `[..., 45]` (axis-angle, without the mean pose) from angles `[..., 2, 15]`."""
        vectors = np.einsum("...aj,jac->...jc", np.radians(angles), self.axes[hand])
        return vectors.reshape(*angles.shape[:-2], 45) - self.mean[hand]

    def both(self, random: np.random.Generator, shape: np.ndarray) -> Iterator[list[PosedHand]]:
        """Without end, a left and a right hand of the subject with shape `[10]`."""
        waiting = [[] for _ in HANDS]  # of each hand: finger poses [O,45] and sealed vertices [O,V+1,3]
        while True:
            yield [self._draw(random, shape, waiting, h) for h in range(len(HANDS))]

    def _draw(self, random: np.random.Generator, shape: np.ndarray, waiting: list, hand: int) -> PosedHand:
        """The next hand, opened until its fingers are free of its palm."""
        while True:
            if not waiting[hand]:
                self._refill(random, shape, waiting)
            for fingers, points in zip(*waiting[hand].pop(), strict=True):
                solid = Solid(points, self.faces[hand])
                if not self_penetrating(solid, self.regions[hand]["tip"]):
                    return PosedHand(fingers, solid, arm_axis(points, hand=hand))

    def _refill(self, random: np.random.Generator, shape: np.ndarray, waiting: list) -> None:
        poses = np.zeros((_POSES_AT_ONCE, len(_OPENINGS), len(HANDS), 48))
        opened = np.stack([1 - _OPENINGS, np.ones(len(_OPENINGS))], 1)[..., None]  # [O,2,1]
        for h in range(len(HANDS)):
            angles = np.stack([random_angles(random) for _ in range(_POSES_AT_ONCE)])
            poses[:, :, h, 3:] = self.fingers(angles[:, None] * opened, hand=h)
        poses = poses.round(6)  # as they are written
        flat = torch.as_tensor(poses, dtype=torch.float32).flatten(0, 1)  # [B,H,48]
        betas = torch.as_tensor(shape, dtype=torch.float32).expand(*flat.shape[:2], -1)
        with torch.no_grad():
            vertices = self.hands(flat, betas, torch.zeros(*flat.shape[:2], 3)).double().numpy()
        points = seal(vertices * 1e3).reshape(*poses.shape[:3], -1, 3)
        for h in range(len(HANDS)):
            waiting[h] += zip(poses[:, :, h, 3:], points[:, :, h], strict=True)


def self_penetrating(solid: Solid, points: np.ndarray) -> bool:
    """Whether finger tips enter another part of their own hand by more than 1.5 mm.

    The indices `points` are the distal phalanges': at bent joints, folds of skin are no intersection.
    """
    outside = solid.vertices[points] + 1.5 * solid.normals[points]
    return int(solid.inside(outside).sum()) > 4


def _regions(hands: Hands, hand: int) -> dict[str, np.ndarray]:
    """Vertices of the regions by which hands meet."""
    template, bone = hands.template[hand], hands.layers[hand].lbs_weights.argmax(1).numpy()
    normals = vertex_normals(template, hands.faces[hand]).numpy()
    body = (bone == 0) & (np.abs(template[:, 0].numpy()) < 0.06)  # without the wrist
    return {
        "tip": np.isin(bone, _DISTAL_JOINTS).nonzero()[0],
        "finger": np.isin(bone, (1, 2, 4, 5, 7, 8, 10, 11, 14)).nonzero()[0],
        "palm": (body & (normals[:, 1] < -0.7)).nonzero()[0],
        "back": (body & (normals[:, 1] > 0.7)).nonzero()[0],
    }


def _rest_axes(hands: Hands) -> np.ndarray:
    """Flexion and abduction axis `[15, 2, 3]` of the right hand's joints at rest.

    Fingers splay at rest, so each has its own flexion axis: across the finger, in the palm's plane.
    """
    points = hands.joints(hands.template[None])[0, RIGHT].double().cpu().numpy()
    joint = dict(zip(JOINTS, points, strict=True))
    unit = lambda vector: vector / np.linalg.norm(vector)
    palm = unit(np.cross(joint["index1"] - joint["wrist"], joint["pinky1"] - joint["wrist"]))
    axes = np.zeros((15, 2, 3))
    for k, finger in enumerate(("index", "middle", "pinky", "ring")):
        along = unit(joint[f"{finger}4"] - joint[f"{finger}1"])
        flexion = unit(np.cross(along, palm))
        axes[3 * k : 3 * k + 3] = flexion, np.cross(along, flexion)
    along = unit(joint["thumb3"] - joint["thumb2"])
    flexion = unit(np.cross(along, joint["pinky1"] + 0.012 * palm - joint["thumb4"]))
    axes[12:] = flexion, unit(np.cross(along, flexion))
    return axes


def random_angles(random: np.random.Generator) -> np.ndarray:
    """Angles `[2, 15]` degrees: a posture, a blend of two, or a random closure, with some noise."""
    kind = random.choice(3, p=(0.35, 0.25, 0.40))
    names = list(POSTURES)
    angles = _random_closure(random)
    if kind < 2:
        share = random.uniform(0, 0.25)
        angles = (1 - share) * POSTURES[names[random.integers(len(names))]] + share * angles
    if kind == 1:
        share = random.uniform(0, 0.6)
        angles = (1 - share) * angles + share * POSTURES[names[random.integers(len(names))]]
    noise = random.normal(0, 4, (2, 15)) * [[1.0], [0.5]]
    noise[0, [2, 5, 8, 11]] = DIP_COUPLING * noise[0, [1, 4, 7, 10]] + random.normal(0, 2, 4)
    noise[1] *= ABDUCTION_LIMITS[:, 0] < 0  # only the first joint of a finger moves sideways
    limits = np.stack([FLEXION_LIMITS, ABDUCTION_LIMITS])  # [2,15,2]
    return np.clip(angles + noise, limits[..., 0], limits[..., 1])


def _random_closure(random: np.random.Generator) -> np.ndarray:
    """Angles `[2, 15]`: a common closure plus a part of each finger that its neighbours share."""
    own = random.beta(1, 1.3, 4)  # index, middle, ring, pinky
    shared = (
        np.array([[0.8, 0.2, 0, 0], [0.15, 0.6, 0.25, 0], [0, 0.25, 0.5, 0.25], [0, 0.1, 0.35, 0.55]]) @ own
    )
    common = 0.6 * random.beta(1.2, 1.6)
    closure = np.clip(common + 0.45 * shared + random.normal(0, 0.06, 4), -0.1, 1.0)
    curl = np.clip(closure + random.normal(0, 0.15, 4), 0, 1.0)
    order = [0, 1, 3, 2]  # MANO lists the pinky before the ring finger
    splay = random.uniform(0, 1) * (1 - 0.8 * np.clip(closure, 0, 1))
    angles = np.zeros((2, 15))
    angles[0, [0, 3, 6, 9]] = 80 * closure[order]
    angles[0, [1, 4, 7, 10]] = 90 * curl[order]
    angles[0, [2, 5, 8, 11]] = DIP_COUPLING * 90 * curl[order]
    angles[1, [0, 3, 6, 9]] = (1 - splay[order]) * np.array([-4, 4, 21, 13])
    angles[0, 12:] = random.uniform(-12, 34), random.normal(16, 14), random.normal(20, 20)
    angles[1, 12] = random.normal(2, 12)
    return angles
