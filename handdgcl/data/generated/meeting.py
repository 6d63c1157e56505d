"""Two posed hands brought together at one point of each: whose arms fit, and how far the left one slides.

Each hand stays in its own frame and the other's points come to it, so its search trees are built once.
Lengths are mm.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from handdgcl.data.generated.arm import ARM_RADIUS_MM, arm_axis
from handdgcl.data.generated.contact import separation
from handdgcl.hands.solid import Solid, gap
from handdgcl.hands.topology import HANDS, LEFT, RIGHT

_PRESS_MM = 2.0  # at most this deep after resolving
_LEAST_ARM_COSINE = 0.4  # forearms of one person point the same way, more or less
_ALONG_ARM_MM = np.linspace(15, 260, 12)[:, None]


@dataclass
class PosedHand:
    """One hand at the model's origin.

    Attributes:
        fingers: `[45]` axis-angle, without the mean pose.
        solid: its sealed surface.
        hand: `LEFT` or `RIGHT`.
    """

    fingers: np.ndarray
    solid: Solid
    hand: int

    @cached_property
    def arm(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the arm starts `[3]` and its unit direction `[3]` to the elbow."""
        return arm_axis(self.solid.vertices, hand=self.hand)


@dataclass
class Meeting:
    """Both hands with their anchors at the origin, the left one turned; an offset moves the left one.

    Attributes:
        hands: left, right.
        anchor: `[H, 3]` in each hand's own frame.
        turn: `[3, 3]` rotation of the left hand.
        normal: `[3]` outward normal of the right hand at its anchor.
    """

    hands: list[PosedHand]
    anchor: np.ndarray
    turn: np.ndarray
    normal: np.ndarray

    def _placed(self, points: np.ndarray, hand: int) -> np.ndarray:
        """Points `[..., 3]` of one hand's frame where the hands meet."""
        points = points - self.anchor[hand]
        return points @ self.turn.T if hand == LEFT else points

    @cached_property
    def points(self) -> np.ndarray:
        """Sealed vertices `[H, V + 1, 3]` before any offset."""
        return np.stack([self._placed(hand.solid.vertices, h) for h, hand in enumerate(self.hands)])

    @cached_property
    def _arm_lines(self) -> np.ndarray:
        """Points `[H, 12, 3]` along both arms before any offset."""
        lines = [start + _ALONG_ARM_MM * axis for start, axis in (hand.arm for hand in self.hands)]
        return np.stack([self._placed(line, h) for h, line in enumerate(lines)])

    def same_person(self) -> bool:
        """Whether one person's elbows could be at the end of both forearms."""
        left, right = (hand.arm[1] for hand in self.hands)
        return float(self.turn @ left @ right) > _LEAST_ARM_COSINE

    def arms_collide(self, offset: np.ndarray) -> bool:
        """Whether an arm would pass through the other hand or the other arm; offset `[3]`."""
        left, right = self._arm_lines[LEFT] + offset, self._arm_lines[RIGHT]
        if _least(left, right) < 2 * ARM_RADIUS_MM:
            return True
        points = self.points[:, :-1:4]
        return min(_least(left, points[RIGHT]), _least(right, points[LEFT] + offset)) < ARM_RADIUS_MM

    def depth_and_distance(self, hand: int, offset: np.ndarray, *, reach: float) -> tuple[float, float]:
        """`Solid.depth_and_distance` of one hand for the other's vertices, at an offset `[3]`."""
        points = self.points[1 - hand, :-1]
        points = (points - offset) @ self.turn if hand == LEFT else points + offset
        return self.hands[hand].solid.depth_and_distance(points + self.anchor[hand], reach=reach)

    def contact(self, offset: np.ndarray) -> tuple[float, float]:
        """Penetration and distance as in `contact.pair_contact`, at an offset `[3]`."""
        points = self.points[:, :-1] + np.stack([offset, np.zeros(3)])[:, None]
        found = [self.depth_and_distance(h, offset, reach=gap(points)) for h in range(len(HANDS))]
        return max(depth for depth, _ in found), min(distance for _, distance in found)

    def slide(self, random: np.random.Generator, *, touch: bool) -> np.ndarray:
        """An offset `[3]` along the contact normal at which the hands touch, or else stand apart."""
        faces = [self.hands[h].solid.faces for h in (RIGHT, LEFT)]
        apart = separation(self.points[RIGHT], self.points[LEFT], faces, self.normal)
        if not np.isfinite(apart):
            return np.zeros(3)
        if not touch:
            return self.normal * (apart + random.uniform(4, 70)) + random.normal(0, 20, 3)
        press = random.uniform(0, _PRESS_MM)
        if random.random() < 0.5 or apart < 2:  # touching from outside
            return self.normal * (apart - press)
        return self.normal * self._interlock(0.0, apart, press)

    def _interlock(self, low: float, high: float, press: float) -> float:
        """Bisection between the coinciding anchors and the outer contact: least offset that is free."""
        for step in range(5):
            middle = low if step == 0 else (low + high) / 2
            depth = 0.0
            for hand in (RIGHT, LEFT):
                if depth <= press:
                    depth = self.depth_and_distance(hand, middle * self.normal, reach=1.0)[0]
            low, high = (low, middle) if depth <= press else (middle, high)
            if high <= low:
                break
        return high


def _least(one: np.ndarray, other: np.ndarray) -> float:
    """Least distance between points `[N, 3]` and `[M, 3]`."""
    apart = one[:, None] - other[None]
    return float(np.sqrt(np.einsum("nmc,nmc->nm", apart, apart).min()))
