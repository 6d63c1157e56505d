"""The hand model: smplx's own MANO and a NumPy linear blend skinning as oracles, mirror, left-hand fix."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from hand_files import licensed, open_hand, write_pickle
from scipy.spatial.transform import Rotation
from smplx import MANO
from smplx.utils import Struct

from handdgcl.files import InputError
from handdgcl.hands import load_hands
from handdgcl.hands.mano import Hands
from handdgcl.hands.topology import (
    FINGERTIP_VERTICES,
    HANDS,
    JOINTS,
    LEFT,
    MANO_JOINTS,
    MIRROR_POINT,
    MIRROR_ROTATION,
    RIGHT,
)

MIRROR = torch.tensor(MIRROR_POINT, dtype=torch.float32)
SIGNS = torch.tensor(np.tile(MIRROR_ROTATION, 16), dtype=torch.float32)  # of a [48] pose


@pytest.fixture(scope="module")
def models():
    return [open_hand(hand) for hand in HANDS]


@pytest.fixture(scope="module")
def hands(models):
    return Hands(models)


def parameters(batch=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g)
    return 0.5 * normal(batch, 2, 48), normal(batch, 2, 10), normal(batch, 2, 3)


def with_shape_x(model, sign):
    """The model with the x part of its shape space multiplied by a sign."""
    return {**model, "shapedirs": model["shapedirs"] * np.array([sign, 1, 1], np.float32)[:, None]}


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
def test_vertices_are_those_of_smplx_with_the_mean_pose(hands, models, hand):
    pose, shape, translation = parameters()
    with redirect_stdout(io.StringIO()):
        struct = Struct(**models[hand])
        oracle = MANO("", hand == RIGHT, struct, use_pca=False, flat_hand_mean=False, batch_size=4)
    expected = oracle(shape[:, hand], pose[:, hand, :3], pose[:, hand, 3:], translation[:, hand]).vertices
    torch.testing.assert_close(hands(pose, shape, translation)[:, hand], expected, atol=2e-6, rtol=0)


def skin(model, pose, shape, translation):
    """Linear blend skinning of one hand, Romero et al. 2017, written from the paper in NumPy."""
    m = {key: value.astype(np.float64) for key, value in model.items()}
    full = pose.reshape(16, 3) + np.concatenate([np.zeros(3), m["hands_mean"]]).reshape(16, 3)
    rotations = Rotation.from_rotvec(full).as_matrix()
    shaped = m["v_template"] + m["shapedirs"] @ shape
    joints = m["J_regressor"] @ shaped
    posed = shaped + m["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    turn, place = [rotations[0]], [joints[0]]  # of each joint in the world
    for j, parent in enumerate(model["kintree_table"][0, 1:], start=1):
        place.append(place[parent] + turn[parent] @ (joints[j] - joints[parent]))
        turn.append(turn[parent] @ rotations[j])
    moved = [(posed - joints[j]) @ turn[j].T + place[j] for j in range(16)]
    return np.einsum("vj,jvc->vc", m["weights"], np.array(moved)) + translation


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
def test_vertices_are_linear_blend_skinning(hands, models, hand):
    pose, shape, translation = parameters(seed=1)
    got = hands(pose, shape, translation)[:, hand].numpy()
    for b, vertices in enumerate(got):
        one = (x[b, hand].double().numpy() for x in (pose, shape, translation))
        np.testing.assert_allclose(vertices, skin(models[hand], *one), atol=3e-6)


def test_left_hand_is_the_mirrored_right_hand(hands):
    pose, shape, translation = parameters(seed=2)
    pose[:, LEFT] = pose[:, RIGHT] * SIGNS
    shape[:, LEFT] = shape[:, RIGHT]
    translation[:, LEFT] = translation[:, RIGHT] * MIRROR
    vertices = hands(pose, shape, translation)
    torch.testing.assert_close(vertices[:, LEFT], vertices[:, RIGHT] * MIRROR, atol=2e-6, rtol=0)
    joints = hands.joints(vertices)
    torch.testing.assert_close(joints[:, LEFT], joints[:, RIGHT] * MIRROR, atol=2e-6, rtol=0)


def test_rest_pose_is_the_template_and_its_joints_the_regressors(hands, models):
    pose = torch.zeros(1, 2, 48)
    pose[:, :, 3:] = -hands.hands_mean
    vertices = hands(pose, torch.zeros(1, 2, 10), torch.zeros(1, 2, 3))
    torch.testing.assert_close(vertices[0], hands.template, atol=1e-6, rtol=0)
    joints = hands.joints(hands.template[None])[0].numpy()
    for hand, model in enumerate(models):
        rest = model["J_regressor"] @ model["v_template"]
        for j, name in enumerate(JOINTS):
            tip = FINGERTIP_VERTICES.get(name[:-1]) if name.endswith("4") else None
            expected = rest[MANO_JOINTS.index(name)] if tip is None else model["v_template"][tip]
            np.testing.assert_allclose(joints[hand, j], expected, atol=1e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_licensed_files_give_the_same_hands(tmp_path, models, hands, sign):
    """Distributed with the left sign error (-1) or without: both end as the open hand they were made of."""
    for name, model in (("LEFT", with_shape_x(models[LEFT], sign)), ("RIGHT", models[RIGHT])):
        write_pickle(tmp_path / f"MANO_{name}.pkl", licensed(model))
    inputs = parameters(seed=3)
    torch.testing.assert_close(load_hands(tmp_path)(*inputs), hands(*inputs), atol=0, rtol=0)
    torch.testing.assert_close(load_hands("open")(*inputs), hands(*inputs), atol=0, rtol=0)


def test_folder_without_the_files(tmp_path):
    with pytest.raises(InputError, match=r"MANO_LEFT\.pkl: no such hand model"):
        load_hands(tmp_path)
