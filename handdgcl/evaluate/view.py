"""From which side the camera sees a hand."""

import torch
from torch import Tensor
from torch.nn import functional

from handdgcl.hands.topology import JOINTS, LEFT, ROOT_JOINT, WRIST_JOINT

INDEX, PINKY = JOINTS.index("index1"), JOINTS.index("pinky1")


def view_angle(joints: Tensor) -> Tensor:
    """The angle between each palm's normal and the direction to the camera, `[B, H]` degrees in [0, 180].

    The normal is that of the plane through the wrist and the bases of index and little finger, and leaves
    the hand on the palm's side. The direction runs from the root joint to the camera's centre. So at 0 the
    camera looks into the palm, at 90 on the hand's edge (or along its fingers), at 180 on its back.

    Args:
        joints: `[B, H, J, 3]` camera frame, any unit.
    """
    wrist = joints[:, :, WRIST_JOINT]
    normal = torch.linalg.cross(joints[:, :, INDEX] - wrist, joints[:, :, PINKY] - wrist)
    mirrored = torch.ones(joints.shape[1], 1).to(joints)
    mirrored[LEFT] = -1  # the left hand is the right one's mirror image
    cosine = functional.cosine_similarity(mirrored * normal, -joints[:, :, ROOT_JOINT], dim=-1)
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
