import json

import cv2
import numpy as np
import pytest
import torch
import trimesh
from rest_hands import CROP_UNITS, UNIT_M, RestHands

from handdgcl.config import load_config
from handdgcl.evaluate import Trained
from handdgcl.files import InputError
from handdgcl.hands.topology import HANDS, JOINTS
from handdgcl.report.photograph import Box
from handdgcl.report.predict import crop_map, mesh_files, predict_image


@pytest.fixture
def trained(hands):
    return Trained(RestHands(hands), hands, load_config("params.yaml"), {}, None)


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "two hands.png"
    picture = np.full((120, 200, 3), 30, np.uint8)
    picture[40:80, 100:160] = (0, 0, 200)  # BGR: a red box
    cv2.imwrite(str(path), picture)
    return path


def test_predictions_land_in_the_box_on_the_original_image(trained, photograph, tmp_path):
    written, doubts = predict_image(photograph, trained, box=Box(100, 40, 60, 40), out=tmp_path / "out")
    assert doubts == []
    assert sorted(p.name for p in written) == sorted(p.name for p in (tmp_path / "out").iterdir())
    size, fill = trained.config.data.image_size, trained.config.data.fill
    seen = trained.network.image[0]
    red = (seen[0] > 127).numpy()  # the box takes `fill` of the crop
    assert abs(red.any(0).sum() - fill * size) <= 2
    read = json.loads((tmp_path / "out" / "two hands_joints.json").read_text())
    px_per_unit = 60 / fill / CROP_UNITS  # the box is 60 px wide
    joints = UNIT_M * trained.hands.joints(trained.network.vertices)[0].numpy()
    joints[0] += [UNIT_M, 0, 0]  # the left hand's place
    for own, hand in zip(joints, HANDS, strict=True):
        found = read["hands"][hand]
        pixels = (own - own[9])[:, :2] / UNIT_M * px_per_unit + [130, 60]
        assert np.allclose(found["joints"], own, atol=1e-5)
        assert np.allclose(found["joints_px"], pixels, atol=1e-3)
        assert found["scale"] == pytest.approx(UNIT_M)
    assert np.allclose(read["relative_root"], [UNIT_M, 0, 0], atol=1e-6)
    assert read["unit"] == "m" and tuple(read["names"]) == JOINTS and read["root"] == "middle1"
    overlay = cv2.imread(str(tmp_path / "out" / "two hands_overlay.png"))
    assert overlay.shape == (120, 200, 3)
    assert (overlay != cv2.imread(str(photograph))).any(-1)[60, 130]
    right = trimesh.load(tmp_path / "out" / "two hands_right.obj", process=False)
    assert np.allclose(
        right.vertices, trained.network.vertices[0, 1].numpy() * UNIT_M * [1, -1, -1], atol=1e-6
    )


def test_without_a_box_the_centre_square_is_the_crop():
    crop = crop_map((100, 300, 3), None, fill=0.8, size=64)
    corners = np.array([[100, 0, 1], [200, 100, 1]])
    assert np.allclose(corners @ crop.T, [[0, 0], [64, 64]])


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 0, 5),
        Box(300, 0, 5, 5),
        Box(-9, 0, 5, 5),
        Box(np.nan, 0, 5, 5),
        Box(0, 0, np.inf, 5),
        Box(0, 0, 5, 1e9),
    ],
)
def test_boxes_without_area_or_outside_or_huge_are_refused(box):
    with pytest.raises(InputError, match="--box"):
        crop_map((100, 300, 3), box, fill=0.8, size=64)


def test_a_black_crop_is_refused(trained, tmp_path):
    """What is left of 10 bits a colour in 16, where a reader keeps the upper eight."""
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((120, 200, 3), 1023, np.uint16))
    with pytest.raises(InputError, match="nearly black"):
        predict_image(tmp_path / "dark.png", trained, box=None, out=tmp_path)


def test_output_that_is_not_finite_is_refused(trained, photograph, tmp_path):
    trained.network.vertices[0, 0, 3] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        predict_image(photograph, trained, box=None, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_meshes_read_back_upright_and_not_mirrored(hands, tmp_path):
    vertices = hands.template.numpy() + np.array([[[0.1, 0.2, 0.3]], [[0, 0, 0]]])
    files = mesh_files(vertices, hands.faces.numpy())
    assert list(files) == ["left.obj", "left.glb", "right.obj", "right.glb", "both.glb"]
    (tmp_path / "both.glb").write_bytes(files.pop("both.glb"))
    both = trimesh.load(tmp_path / "both.glb", process=False)
    for hand, name in enumerate(("left", "right")):
        assert np.allclose(both.geometry[name].vertices, vertices[hand] * [1, -1, -1], atol=1e-6)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        hand = int("right" in name)
        mesh = trimesh.load(tmp_path / name, force="mesh", process=False)
        assert np.allclose(mesh.vertices, vertices[hand] * [1, -1, -1], atol=1e-6), name
        assert np.array_equal(mesh.faces, hands.faces[hand].numpy())
        original = trimesh.Trimesh(vertices[hand], hands.faces[hand].numpy(), process=False)
        assert mesh.volume == pytest.approx(original.volume, rel=1e-4)  # its sign tells a mirrored hand
