"""Placing two posed hands so that they interact: touching, pressed together, interlocked or just near.

A region of each hand is chosen (finger tips, palm, back, fingers); the left hand is turned so that the
two regions face each other and slides along the contact normal until it touches. Lengths are mm.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handdgcl.data.generated.contact import self_penetrating
from handdgcl.data.generated.meeting import Meeting, PosedHand
from handdgcl.data.generated.poses import PoseSampler, random_angles
from handdgcl.hands import Hands
from handdgcl.hands.raster import vertex_normals
from handdgcl.hands.solid import Solid, seal, sealed_faces
from handdgcl.hands.topology import HANDS, LEFT, RIGHT

MAX_PENETRATION_MM = 3.0  # deeper pairs are never written
TOUCH_MM = 3.0  # nearer hands count as touching
_OPENINGS = np.array([0.0, 0.12, 0.25, 0.4])  # a pose that enters its own palm is opened by these shares
_POSES_AT_ONCE = 3  # one call of the model costs more than the hands in it
_TURNS = 6  # of two regions that meet, before others are chosen
_DISTAL_JOINTS = (3, 6, 9, 12, 15)

# region of one hand, region of the other, weight; the hands swap roles at random
_MEETINGS = (
    ("tip", "tip", 0.22),
    ("tip", "palm", 0.12),
    ("tip", "back", 0.08),
    ("tip", "finger", 0.14),
    ("palm", "palm", 0.14),
    ("palm", "back", 0.12),
    ("finger", "finger", 0.12),
    ("finger", "back", 0.06),
)


@dataclass
class Pair:
    """Two hands in one frame of reference.

    Attributes:
        pose: `[H, 48]` axis-angle, without the mean pose.
        shape: `[H, 10]`.
        translation: `[H, 3]` metres.
        vertices: `[H, V, 3]` mm.
    """

    pose: np.ndarray
    shape: np.ndarray
    translation: np.ndarray
    vertices: np.ndarray


class Placer:
    """Draws pairs of one hand model."""

    def __init__(self, hands: Hands):
        self.hands, self.poses, self.faces = hands, PoseSampler(hands), sealed_faces(hands)
        bone = torch.stack([layer.lbs_weights.argmax(1) for layer in hands.layers]).cpu().numpy()  # [H,V]
        self.distal = [np.isin(bone[h], _DISTAL_JOINTS).nonzero()[0] for h in range(len(HANDS))]
        self.regions = [_regions(hands, bone[h], h) for h in range(len(HANDS))]

    def pair(self, random: np.random.Generator, shape: np.ndarray, *, touching: bool) -> Pair:
        """A pair near the origin, in a random but plausible arrangement.

        Args:
            random: source of all randomness.
            shape: `[10]` of the subject.
            touching: the hands must touch (<= 3 mm); otherwise they may.
        """
        posing = _Posing(self, random, shape)
        while True:
            hands = [posing.draw(h) for h in range(len(HANDS))]
            touch = touching or random.random() < 0.5
            found = self._meet(random, hands, touch=touch)
            if found is None:
                continue
            meeting, offset = found
            penetration, distance = meeting.contact(offset)
            if penetration <= MAX_PENETRATION_MM and (not touching or distance <= TOUCH_MM):
                return self._assemble(shape, meeting, offset)

    def vertices(self, poses: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Vertices `[B, H, V, 3]` mm of poses `[B, H, 48]` at zero translation."""
        count = len(poses)
        betas = torch.as_tensor(shape, dtype=torch.float32).expand(count, len(HANDS), -1)
        with torch.no_grad():
            points = self.hands(torch.as_tensor(poses).float(), betas, torch.zeros(count, len(HANDS), 3))
        return points.double().numpy() * 1e3

    def _meet(self, random: np.random.Generator, hands: list[PosedHand], *, touch: bool):
        """How the hands meet, with an offset `[3]` for the left one, or None."""
        regions = list(_MEETINGS[random.choice(len(_MEETINGS), p=[m[2] for m in _MEETINGS])][:2])
        random.shuffle(regions)
        vertex = [random.choice(self.regions[h][regions[h]]) for h in range(len(HANDS))]
        solids = [hand.solid for hand in hands]
        anchor = np.stack([solid.vertices[v] for solid, v in zip(solids, vertex, strict=True)])
        normal = np.stack([solid.normals[v] for solid, v in zip(solids, vertex, strict=True)])
        facing, _ = Rotation.align_vectors(-normal[RIGHT], normal[LEFT])
        twist = Rotation.from_rotvec(random.uniform(-np.pi, np.pi, (_TURNS, 1)) * normal[RIGHT])
        tilt = Rotation.from_rotvec(random.normal(0, 0.3, (_TURNS, 3)))
        for turn in (tilt * twist * facing).as_matrix():
            meeting = Meeting(hands, anchor, turn, normal[RIGHT])
            if not meeting.same_person() or meeting.arms_collide(np.zeros(3)):
                continue
            offset = meeting.slide(random, touch=touch)
            if not meeting.arms_collide(offset):
                return meeting, offset
        return None

    def _assemble(self, shape: np.ndarray, meeting: Meeting, offset: np.ndarray) -> Pair:
        """The pair of a meeting."""
        turn = Rotation.from_matrix(np.stack([meeting.turn, np.eye(3)]))
        pose = np.concatenate([turn.as_rotvec(), [hand.fingers for hand in meeting.hands]], axis=1)
        shift = np.stack([offset, np.zeros(3)])
        wrist = self._rest_wrist(shape)
        # the model turns about its wrist, the placement about the anchor
        translation = turn.apply(wrist - meeting.anchor) + shift - wrist
        vertices = meeting.points[:, :-1] + shift[:, None]
        return Pair(pose, np.stack([shape, shape]), translation / 1e3, vertices)

    def moved(self, pair: Pair, turn: Rotation, shift: np.ndarray) -> Pair:
        """The pair turned about the origin, then shifted by `[3]` mm.

        Its parameters are rounded as they are written, and its vertices are the model's for them.
        """
        wrist = self._rest_wrist(pair.shape[0])
        before, centre = Rotation.from_rotvec(pair.pose[:, :3]), wrist + pair.translation * 1e3
        pose = pair.pose.copy()
        pose[:, :3] = (turn * before).as_rotvec()
        pose = pose.round(6)
        translation = ((turn.apply(centre) + shift - wrist) / 1e3).round(7)
        turned = (Rotation.from_rotvec(pose[:, :3]) * before.inv()).as_matrix()  # [H,3,3]
        vertices = (pair.vertices - centre[:, None]) @ turned.transpose(0, 2, 1)
        vertices += (wrist + translation * 1e3)[:, None]
        return replace(pair, pose=pose, translation=translation, vertices=vertices)

    def _rest_wrist(self, shape: np.ndarray) -> np.ndarray:
        """The centres `[H, 3]` mm of the models' global orientation."""
        betas = torch.as_tensor(shape, dtype=torch.float32)
        regress = lambda layer: layer.J_regressor[0] @ (layer.v_template + layer.shapedirs @ betas)
        wrist = [regress(layer) for layer in self.hands.layers]
        return torch.stack(wrist).double().numpy() * 1e3


class _Posing:
    """Draws hands of one subject whose fingers do not enter their own hand."""

    def __init__(self, placer: Placer, random: np.random.Generator, shape: np.ndarray):
        self.placer, self.random, self.shape = placer, random, shape
        self.waiting = [[] for _ in HANDS]  # of each hand: finger poses [O,45], sealed vertices [O,V+1,3]

    def draw(self, hand: int) -> PosedHand:
        """One posed hand."""
        while True:
            if not self.waiting[hand]:
                self._refill()
            for fingers, points in zip(*self.waiting[hand].pop(), strict=True):
                solid = Solid(points, self.placer.faces[hand])
                if not self_penetrating(solid, self.placer.distal[hand]):
                    return PosedHand(fingers, solid, hand)

    def _refill(self) -> None:
        poses = np.zeros((_POSES_AT_ONCE, len(_OPENINGS), len(HANDS), 48))
        opened = np.stack([1 - _OPENINGS, np.ones(len(_OPENINGS))], 1)[..., None]  # [O,2,1]
        for h in range(len(HANDS)):
            angles = np.stack([random_angles(self.random) for _ in range(_POSES_AT_ONCE)])
            poses[:, :, h, 3:] = self.placer.poses.pose(angles[:, None] * opened, hand=h)
        poses = poses.round(6)  # as they are written
        points = seal(self.placer.vertices(poses.reshape(-1, len(HANDS), 48), self.shape))
        points = points.reshape(*poses.shape[:3], -1, 3)
        for h, waiting in enumerate(self.waiting):
            waiting += zip(poses[:, :, h, 3:], points[:, :, h], strict=True)


def _regions(hands: Hands, bone: np.ndarray, hand: int) -> dict[str, np.ndarray]:
    """Vertices of the regions that meet; `bone` `[V]` is each vertex's dominant joint."""
    template = hands.template[hand]
    normals = vertex_normals(template, hands.faces[hand]).numpy()
    body = (bone == 0) & (np.abs(template[:, 0].numpy()) < 0.06)  # without the wrist
    return {
        "tip": np.isin(bone, _DISTAL_JOINTS).nonzero()[0],
        "finger": np.isin(bone, (1, 2, 4, 5, 7, 8, 10, 11, 14)).nonzero()[0],
        "palm": (body & (normals[:, 1] < -0.7)).nonzero()[0],
        "back": (body & (normals[:, 1] > 0.7)).nonzero()[0],
    }
