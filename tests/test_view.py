import numpy as np
import pytest
import torch

from handdgcl.evaluate.view import view_angle
from handdgcl.hands.topology import JOINTS, MIRROR_POINT


def right_hand(turn=0.0):
    """Fingers up in the image; at 0 the palm faces the camera, then turned about the vertical axis."""
    joints = torch.zeros(21, 3, dtype=torch.float64)
    joints[:, 1] = -0.08  # y is down
    joints[0, 1] = 0
    # Seen from its palm, the right hand has its little finger at the left of the image: x < 0.
    joints[JOINTS.index("index1"), 0], joints[JOINTS.index("pinky1"), 0] = 0.03, -0.03
    c, s = np.cos(turn), np.sin(turn)
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    joints = joints @ rotation.T
    return joints - joints[9] + torch.tensor([0.0, 0.0, 0.5])


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (30, 30), (90, 90), (180, 180), (-120, 120)])
def test_the_angle_is_the_turn(degrees, expected):
    right = right_hand(np.radians(degrees))
    left = right * torch.tensor(MIRROR_POINT)  # its mirror image is seen from the same side
    angles = view_angle(torch.stack([left, right])[None])
    assert angles[0].tolist() == pytest.approx([expected, expected], abs=1e-4)


def test_it_is_the_direction_to_the_camera_that_counts():
    """Half-way to the image's border of a 90° camera, a palm parallel to the image is seen at an angle."""
    right = right_hand() + torch.tensor([0.5, 0.0, 0.0])  # root at 45° from the axis
    left = right_hand() * torch.tensor(MIRROR_POINT)
    assert view_angle(torch.stack([left, right])[None])[0].tolist() == pytest.approx([0, 45], abs=1e-4)


def test_fingers_bend_to_the_palms_side(hands):
    """On the model itself: with bent fingers, the tips lie on the side the normal leaves the palm."""
    pose = torch.zeros(1, 2, 48)
    pose[..., 3:] = -hands.hands_mean
    flat = hands.joints(hands(pose, torch.zeros(1, 2, 10), torch.zeros(1, 2, 3)))
    bent = hands.joints(hands(torch.zeros(1, 2, 48), torch.zeros(1, 2, 10), torch.zeros(1, 2, 3)))
    tips = [JOINTS.index(f"{finger}4") for finger in ("index", "middle", "ring")]
    for hand in range(2):
        move = (bent - flat)[0, hand, tips].mean(0)  # where the tips go when the fingers bend
        place = flat[0, hand] - flat[0, hand, 9]
        seen = torch.stack([place, place])[None]
        # A camera on that side looks into the palm, one on the other side at the back.
        toward, away = (view_angle(seen - side * move / move.norm())[0, hand] for side in (1, -1))
        assert toward < 90 < away
