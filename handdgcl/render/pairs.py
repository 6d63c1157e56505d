"""Two posed hands that interact: touching, pressed together, interlocked or just near.

A region of each hand is chosen (finger tips, palm, back, fingers); the left hand is turned so that the
two regions face each other and slides along the contact normal until it touches. Lengths are mm.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from handdgcl.hands import Hands
from handdgcl.hands.contact import pair_contact
from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import HANDS, LEFT, RIGHT
from handdgcl.render.hands import HandSampler, PosedHand

MAX_PENETRATION_MM = 3.0  # deeper pairs are never written
TOUCH_MM = 3.0  # nearer hands count as touching
_ARM_RADIUS_MM = 40.0  # for collisions
_ALONG_ARM_MM = np.linspace(15, 260, 12)[:, None]
_MIN_ARM_COSINE = 0.4  # forearms of one person point the same way, more or less
_MAX_PRESS_MM = 2.0
_TURNS = 6  # of two regions that meet, before others are chosen

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
    """Two hands in one frame of reference."""

    pose: np.ndarray  # [H,48] axis-angle, without the mean pose
    shape: np.ndarray  # [H,10]
    translation: np.ndarray  # [H,3] metres
    vertices: np.ndarray  # [H,V,3] mm
    wrist: np.ndarray  # [H,3] mm, centre of the global orientation at zero translation

    def moved(self, turn: Rotation, shift: np.ndarray) -> "Pair":
        """The pair turned about the origin, then shifted by `[3]` mm.

        Its parameters are rounded as they are written, and its vertices are the model's for them.
        """
        before, centre = Rotation.from_rotvec(self.pose[:, :3]), self.wrist + self.translation * 1e3
        pose = self.pose.copy()
        pose[:, :3] = (turn * before).as_rotvec()
        pose = pose.round(6)
        translation = ((turn.apply(centre) + shift - self.wrist) / 1e3).round(7)
        turned = (Rotation.from_rotvec(pose[:, :3]) * before.inv()).as_matrix()  # [H,3,3]
        vertices = (self.vertices - centre[:, None]) @ turned.transpose(0, 2, 1)
        vertices += (self.wrist + translation * 1e3)[:, None]
        return replace(self, pose=pose, translation=translation, vertices=vertices)


class PairSampler:
    """Draws pairs of one hand model."""

    def __init__(self, hands: Hands):
        self.layers, self.hand_sampler = hands.layers, HandSampler(hands)

    def pair(self, random: np.random.Generator, shape: np.ndarray, *, touching: bool) -> Pair:
        """A pair near the origin, of a subject's shape `[10]`; with `touching` the hands must touch."""
        for hands in self.hand_sampler.both(random, shape):
            touch = touching or random.random() < 0.5
            found = self._meet(random, hands, touch=touch)
            if found is None:
                continue
            pair = self._assemble(shape, *found)
            contact = pair_contact(pair.vertices, self.hand_sampler.faces)
            near = not touching or contact["distance_mm"] <= TOUCH_MM
            if near and contact["penetration_mm"] <= MAX_PENETRATION_MM:
                return pair

    def _meet(self, random: np.random.Generator, hands: list[PosedHand], *, touch: bool):
        """How the hands meet, with an offset `[3]` for the left one, or None."""
        regions = list(_MEETINGS[random.choice(len(_MEETINGS), p=[m[2] for m in _MEETINGS])][:2])
        random.shuffle(regions)
        vertex = [random.choice(self.hand_sampler.regions[h][regions[h]]) for h in range(len(HANDS))]
        anchor = np.stack([hand.solid.vertices[v] for hand, v in zip(hands, vertex, strict=True)])
        normal = np.stack([hand.solid.normals[v] for hand, v in zip(hands, vertex, strict=True)])
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

    def _assemble(self, shape: np.ndarray, meeting: "Meeting", offset: np.ndarray) -> Pair:
        turn = Rotation.from_matrix(np.stack([meeting.turn, np.eye(3)]))
        pose = np.concatenate([turn.as_rotvec(), [hand.fingers for hand in meeting.hands]], axis=1)
        shift = np.stack([offset, np.zeros(3)])
        betas = torch.as_tensor(shape, dtype=torch.float32)
        wrist = [layer.J_regressor[0] @ (layer.v_template + layer.shapedirs @ betas) for layer in self.layers]
        wrist = torch.stack(wrist).double().numpy() * 1e3
        # the model turns about its wrist, the meeting about the anchor
        translation = turn.apply(wrist - meeting.anchor) + shift - wrist
        vertices = meeting.points[:, :-1] + shift[:, None]
        return Pair(pose, np.stack([shape, shape]), translation / 1e3, vertices, wrist)


@dataclass
class Meeting:
    """Both hands with their anchors at the origin, the left one turned; an offset `[3]` moves it on."""

    hands: list[PosedHand]  # left, right
    anchor: np.ndarray  # [H,3] in each hand's own frame
    turn: np.ndarray  # [3,3] rotation of the left hand
    normal: np.ndarray  # [3] outward, of the right hand at its anchor

    def _common(self, points: np.ndarray, hand: int) -> np.ndarray:
        """Points `[N, 3]` of one hand's own frame in the frame where the hands meet."""
        points = points - self.anchor[hand]
        return points @ self.turn.T if hand == LEFT else points

    @cached_property
    def points(self) -> np.ndarray:
        """Sealed vertices `[H, V + 1, 3]` before any offset."""
        return np.stack([self._common(hand.solid.vertices, h) for h, hand in enumerate(self.hands)])

    @cached_property
    def _arm_lines(self) -> np.ndarray:
        """Points `[H, 12, 3]` along both arms before any offset."""
        lines = [start + _ALONG_ARM_MM * axis for start, axis in (hand.arm for hand in self.hands)]
        return np.stack([self._common(line, h) for h, line in enumerate(lines)])

    def same_person(self) -> bool:
        """Whether one person's elbows could be at the end of both forearms."""
        left, right = (hand.arm[1] for hand in self.hands)
        return float(self.turn @ left @ right) > _MIN_ARM_COSINE

    def arms_collide(self, offset: np.ndarray) -> bool:
        """Whether an arm would pass through the other hand or the other arm."""
        left, right = self._arm_lines[LEFT] + offset, self._arm_lines[RIGHT]
        if cdist(left, right).min() < 2 * _ARM_RADIUS_MM:
            return True
        left_hand, right_hand = self.points[LEFT, :-1:4] + offset, self.points[RIGHT, :-1:4]
        return min(cdist(left, right_hand).min(), cdist(right, left_hand).min()) < _ARM_RADIUS_MM

    def slide(self, random: np.random.Generator, *, touch: bool) -> np.ndarray:
        """An offset `[3]` along the contact normal at which the hands touch, or else leave a gap."""
        faces = [self.hands[h].solid.faces for h in (RIGHT, LEFT)]
        first = separation(self.points[RIGHT], self.points[LEFT], faces, self.normal)
        if not np.isfinite(first):
            return np.zeros(3)
        if not touch:
            return self.normal * (first + random.uniform(4, 70)) + random.normal(0, 20, 3)
        press = random.uniform(0, _MAX_PRESS_MM)
        if random.random() < 0.5 or first < 2:  # touching from outside
            return self.normal * (first - press)
        return self.normal * self._interlock(first, press)

    def _interlock(self, first: float, press: float) -> float:
        """Bisection between coinciding anchors and first contact: the least offset that is free."""
        if self._depth(0.0, press) <= press:
            return 0.0
        low, high = 0.0, first
        for _ in range(4):
            middle = (low + high) / 2
            low, high = (low, middle) if self._depth(middle, press) <= press else (middle, high)
        return high

    def _depth(self, along: float, press: float) -> float:
        """Penetration at an offset along the normal; the second hand is asked only if the first is free.

        Each hand stays in its own frame and the other's points come to it: its search tree is built once.
        """
        depth = 0.0
        for hand in (RIGHT, LEFT):
            if depth <= press:
                points, offset = self.points[1 - hand, :-1], along * self.normal
                points = (points - offset) @ self.turn if hand == LEFT else points + offset
                solid = self.hands[hand].solid
                depth = solid.depth_and_distance(points + self.anchor[hand], reach=1.0)[0]
        return depth


def separation(
    fixed: np.ndarray, moving: np.ndarray, faces: list[np.ndarray], direction: np.ndarray
) -> float:
    """How far `moving` must go along `direction` until it touches `fixed` from that side.

    Two height maps along the direction give the offset of first contact for a hand that comes from
    far away; nothing penetrates there, up to the maps' resolution of 1 mm.

    Args:
        fixed, moving: sealed vertices `[V + 1, 3]`.
        faces: of the two, in this order.
        direction: `[3]` unit vector.

    Returns:
        The offset; -inf where the two never meet along the direction.
    """
    across = np.linalg.svd(direction[None])[2][1:].T  # [3,2] two unit vectors across the direction
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
    return np.where(fragments.face[0].numpy() >= 0, floor - fragments.depth[0].numpy(), -np.inf)
