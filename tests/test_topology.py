"""Joint order, fingertips, bones and the wrist cap, against the meshes themselves."""

import numpy as np
import pytest
import trimesh
from hand_files import open_hand

from handdgcl.hands.contact import seal
from handdgcl.hands.topology import (
    BONES,
    FINGERS,
    FINGERTIP_VERTICES,
    HANDS,
    INTERHAND_ORDER,
    JOINTS,
    LEFT,
    MANO_JOINTS,
    VERTEX_COUNT,
    closed_faces,
    joint_regressor_21,
)


@pytest.fixture(scope="module", params=[0, 1], ids=HANDS)
def hand(request):
    return request.param, open_hand(HANDS[request.param])


def test_joint_names_are_those_of_the_files_tree(hand):
    for joint, parent in zip(MANO_JOINTS[1:], hand[1]["kintree_table"][0, 1:], strict=True):
        before = int(joint[-1]) - 1
        assert MANO_JOINTS[parent] == (f"{joint[:-1]}{before}" if before else "wrist")


def test_bones_make_one_tree_of_five_fingers():
    assert len(BONES) == 20 and sorted(child for _, child in BONES) == list(range(1, 21))
    for parent, child in BONES:
        finger, k = JOINTS[child][:-1], int(JOINTS[child][-1])
        assert JOINTS[parent] == ("wrist" if k == 1 else f"{finger}{k - 1}")


def test_interhand_rows_are_tip_to_base_and_wrist_last():
    names = [JOINTS[j] for j in INTERHAND_ORDER]
    assert sorted(INTERHAND_ORDER) == list(range(21))
    assert names[20] == "wrist" and names[:4] == ["thumb4", "thumb3", "thumb2", "thumb1"]
    assert names[4::4] == ["index4", "middle4", "ring4", "pinky4", "wrist"]


def test_joints_run_outwards_along_each_finger(hand):
    regressor = joint_regressor_21(hand[1]["J_regressor"])
    np.testing.assert_allclose(regressor.sum(1), 1, atol=1e-5)
    joints = regressor @ hand[1]["v_template"]
    from_wrist = np.linalg.norm(joints - joints[0], axis=1)
    for first in range(1, 21, 4):
        assert (np.diff(from_wrist[first : first + 4]) > 0.01).all(), JOINTS[first]


def test_fingertips_are_the_far_ends_of_their_fingers(hand):
    model = hand[1]
    joints = model["J_regressor"] @ model["v_template"]
    owner = model["weights"].argmax(1)
    for finger in FINGERS:
        last = MANO_JOINTS.index(finger + "3")
        distance = np.linalg.norm(model["v_template"] - joints[last], axis=1) * (owner == last)
        assert distance.argmax() == FINGERTIP_VERTICES[finger]


def test_closed_hand_is_watertight_and_faces_outwards(hand):
    side, model = hand
    open_mesh = trimesh.Trimesh(model["v_template"], model["f"], process=False)
    assert not open_mesh.is_watertight
    vertices = seal(model["v_template"])
    faces = closed_faces(model["f"], hand=side)
    assert faces.shape == (1554, 3) and faces.max() == VERTEX_COUNT
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.euler_number == 2
    assert 1e-4 < mesh.volume < 1e-3  # 0.1 to 1 litre, positive: outward


def test_left_faces_are_the_mirrored_right_ones():
    left, right = (open_hand(hand)["f"] for hand in HANDS)
    np.testing.assert_array_equal(left, right[:, ::-1])
    fan_left, fan_right = (closed_faces(f, hand=h)[1538:] for h, f in ((LEFT, left), (1, right)))
    np.testing.assert_array_equal(fan_left, fan_right[:, [1, 0, 2]])
