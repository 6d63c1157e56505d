"""Single hands: joint limits, coupling, mirror symmetry, fingers that enter the palm."""

import numpy as np
import pytest
import torch

from handdgcl.hands.contact import Solid, seal
from handdgcl.hands.topology import FINGERTIP_VERTICES, JOINTS, LEFT, MIRROR_POINT, RIGHT
from handdgcl.render.hands import (
    ABDUCTION_LIMITS,
    DIP_COUPLING,
    FLEXION_LIMITS,
    POSTURES,
    HandSampler,
    random_angles,
    self_penetrating,
)

PALM = np.array([0, -1, 0])  # of the model at rest


@pytest.fixture(scope="module")
def sampler(hands):
    return HandSampler(hands)


def joints_of(hands, sampler, angles):
    """Joints `[H, J, 3]` mm of both hands in the same pose."""
    pose = np.zeros((1, 2, 48))
    for hand in (LEFT, RIGHT):
        pose[0, hand, 3:] = sampler.fingers(angles, hand=hand)
    vertices = hands(torch.tensor(pose).float(), torch.zeros(1, 2, 10), torch.zeros(1, 2, 3))
    return hands.joints(vertices)[0].numpy() * 1e3


def angles_of(sampler, fingers, hand):
    """Angles `[..., 2, 15]` degrees of finger poses `[..., 45]`, the inverse of `HandSampler.fingers`."""
    vectors = (fingers + sampler.mean[hand]).reshape(*fingers.shape[:-1], 15, 3)
    return np.degrees(np.einsum("...jc,jac->...aj", vectors, sampler.axes[hand]))


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
def test_random_poses_obey_limits_and_coupling(sampler, hand):
    random = np.random.default_rng(0)
    pose = np.stack([sampler.fingers(random_angles(random), hand=hand) for _ in range(500)])
    flexion, abduction = angles_of(sampler, pose, hand).transpose(1, 0, 2)
    assert (flexion >= FLEXION_LIMITS[:, 0] - 1e-6).all() and (flexion <= FLEXION_LIMITS[:, 1] + 1e-6).all()
    assert (np.abs(abduction) <= np.abs(ABDUCTION_LIMITS).max(1) + 1e-6).all()
    middle, distal = flexion[:, [1, 4, 7, 10]], flexion[:, [2, 5, 8, 11]]
    assert np.abs(distal - DIP_COUPLING * middle).max() < 12
    assert np.corrcoef(flexion[:, 6], flexion[:, 9])[0, 1] > 0.5  # pinky and ring finger go together
    assert flexion[:, :12].std(0).min() > 8  # and there is variety


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
def test_pose_is_the_axis_angle_without_the_mean_pose(hands, sampler, hand):
    fingers = sampler.fingers(POSTURES["grasp"], hand=hand)
    np.testing.assert_allclose(angles_of(sampler, fingers, hand), POSTURES["grasp"], atol=1e-4)
    full = fingers + hands.hands_mean[hand].numpy()
    flexion = np.linalg.norm(full.reshape(15, 3)[1])
    np.testing.assert_allclose(np.degrees(flexion), POSTURES["grasp"][0, 1], atol=1e-4)


def test_the_left_hand_mirrors_the_right(hands, sampler):
    for name in ("fist", "pinch", "spread"):
        joints = joints_of(hands, sampler, POSTURES[name])
        np.testing.assert_allclose(joints[LEFT], joints[RIGHT] * MIRROR_POINT, atol=0.01)


def test_fingers_bend_to_the_palm_and_close_together(hands, sampler):
    rest = joints_of(hands, sampler, np.zeros((2, 15)))[RIGHT]
    fist = joints_of(hands, sampler, POSTURES["fist"])[RIGHT]
    tips = [JOINTS.index(f"{finger}4") for finger in ("index", "middle", "ring", "pinky")]
    assert ((fist - rest)[tips] @ PALM > 20).all()
    spread = joints_of(hands, sampler, POSTURES["spread"])[RIGHT]
    closed = joints_of(hands, sampler, POSTURES["closed"])[RIGHT]
    width = lambda joints: np.linalg.norm(joints[tips[0]] - joints[tips[-1]])
    assert width(closed) < width(rest) < width(spread)


def test_a_finger_through_the_palm_is_seen(hands, sampler):
    faces = sampler.faces[RIGHT]
    tip = hands.layers[RIGHT].lbs_weights.argmax(1).numpy() == 6
    points = tip.nonzero()[0]
    pose = torch.zeros(1, 2, 48)
    flat = hands(pose, torch.zeros(1, 2, 10), torch.zeros(1, 2, 3))[0, RIGHT].double().numpy() * 1e3
    assert not self_penetrating(Solid(seal(flat), faces), points)
    joints = hands.joints(torch.tensor(flat).expand(1, 2, -1, -1))[0, RIGHT].numpy()
    bent = flat.copy()
    bent[tip] += (joints[0] + joints[9]) / 2 - flat[tip].mean(0)
    assert self_penetrating(Solid(seal(bent), faces), points)


def test_regions_are_parts_of_the_hand(sampler):
    for hand in (LEFT, RIGHT):
        regions = sampler.regions[hand]
        assert set(FINGERTIP_VERTICES.values()) <= set(regions["tip"])
        assert min(map(len, regions.values())) > 20
        for one, other in (("tip", "finger"), ("palm", "back"), ("tip", "palm")):
            assert not set(regions[one]) & set(regions[other])
