"""The reader: joined by id, the rules in order, errors that name file and field, two real frames."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from layout import annotation_file, read_records, write_layout, write_records

from handdgcl.data.camera import project, world_to_camera
from handdgcl.data.interhand import read_images, read_joints, read_split
from handdgcl.errors import InputError
from handdgcl.hands.topology import HANDS, JOINTS, LEFT, RIGHT

REAL = Path(__file__).parents[2] / "shared" / "interhand-sample"


@pytest.fixture
def folder(tmp_path):
    return write_layout(tmp_path, frames=4, splits=("val",))


def change(folder, kind, edit):
    records = read_records(folder, "val")
    edit(records[kind])
    write_records(folder, "val", records)


def test_each_sample_gets_its_own_frame_and_camera(folder):
    records = read_records(folder, "val")
    selection = read_split(folder, "val", progress=False)
    assert len(selection) == 8
    assert selection.table.image_id.tolist() == [image["id"] for image in records["data"]["images"]]
    by_id = {image["id"]: image for image in records["data"]["images"]}
    for i, row in selection.table.iterrows():
        image = by_id[row.image_id]
        assert row.file_name == image["file_name"] and (selection.images / row.file_name).exists()
        fits = records["MANO_NeuralAnnot"]["1"][str(image["frame_idx"])]
        camera = records["camera"]["1"]
        for hand, name in enumerate(HANDS):
            fit = selection.fit[i]
            np.testing.assert_allclose(selection.fits.pose[fit, hand], fits[name]["pose"], rtol=1e-6)
            np.testing.assert_allclose(selection.fits.shape[fit, hand], fits[name]["shape"], rtol=1e-6)
            np.testing.assert_allclose(selection.fits.translation[fit, hand], fits[name]["trans"], rtol=1e-6)
        view = selection.view[i]
        np.testing.assert_equal(selection.views.rotation[view], camera["camrot"][image["camera"]])
        np.testing.assert_equal(selection.views.position[view], camera["campos"][image["camera"]])
        focal, principal = camera["focal"][image["camera"]], camera["princpt"][image["camera"]]
        expected = [[focal[0], 0, principal[0]], [0, focal[1], principal[1]], [0, 0, 1]]
        np.testing.assert_equal(selection.views.intrinsics[view], expected)


def test_rules_apply_in_the_benchmarks_order(folder):
    records = read_records(folder, "val")
    frame_of = {image["id"]: str(image["frame_idx"]) for image in records["data"]["images"]}
    fits = records["MANO_NeuralAnnot"]["1"]
    fits["7"]["left"] = None  # two views without the left hand
    fits["17"] = None  # two views without any
    a = next(x for x in records["data"]["annotations"] if frame_of[x["image_id"]] == "7")
    b = next(x for x in records["data"]["annotations"] if frame_of[x["image_id"]] == "27")
    a["hand_type"], b["hand_type_valid"] = "right", 0
    write_records(folder, "val", records)
    selection = read_split(folder, "val", progress=False)
    assert selection.counts.drop(columns="rule").to_numpy().tolist() == [
        [0, 0, 8],
        [1, 1, 7],
        [1, 1, 6],
        [4, 3, 3],
    ]
    assert sorted(selection.table.frame) == [27, 37, 37]


def test_frames_and_annotations_that_are_missing_cost_their_images_alone(folder):
    records = read_records(folder, "val")
    fits = records["MANO_NeuralAnnot"]["1"]
    del fits["7"]
    fits["17"] = None
    frame_of = {image["id"]: image["frame_idx"] for image in records["data"]["images"]}
    lines = records["data"]["annotations"]
    lines.remove(next(x for x in lines if frame_of[x["image_id"]] == 27))
    write_records(folder, "val", records)
    selection = read_split(folder, "val", progress=False)
    assert selection.counts[["failing", "kept"]].to_numpy().tolist() == [[0, 8], [1, 7], [1, 7], [4, 3]]
    assert sorted(selection.table.frame) == [27, 37, 37]


def delete(*keys):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return edit


def put(value, *keys):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("kind", "edit", "named"),
    [
        ("data", delete("images", 3, "file_name"), "file_name"),
        ("data", put("both", "annotations", 2, "hand_type"), r"annotations\[2\].hand_type"),
        ("data", put(123456, "annotations", 0, "image_id"), "image_id 123456"),
        ("data", lambda d: d["images"].append(d["images"][0]), "images: id .* twice"),
        ("data", lambda d: d["annotations"].append(d["annotations"][0]), "annotations: image_id .* twice"),
        ("camera", delete("1"), "capture 1"),
        ("camera", delete("1", "campos"), "campos"),
        ("camera", delete("1", "focal", "401001"), "capture 1: focal: no camera 401001"),
        ("camera", put([1.0], "1", "princpt", "401000"), "princpt"),
        ("MANO_NeuralAnnot", delete("1", "7", "left", "trans"), "left.*trans|trans.*left"),
        ("MANO_NeuralAnnot", delete("1", "7", "left"), "left"),
        ("MANO_NeuralAnnot", put([0.0] * 45, "1", "7", "right", "pose"), "right.pose"),
    ],
)
def test_format_errors_name_file_and_field(folder, kind, edit, named):
    change(folder, kind, edit)
    with pytest.raises(InputError, match=named) as error:
        read_split(folder, "val", progress=False)
    assert str(annotation_file(folder, "val", kind)) in str(error.value)


@pytest.mark.parametrize("kind", ["data", "camera", "MANO_NeuralAnnot"])
def test_missing_cut_and_empty_files_are_named(folder, kind):
    path = annotation_file(folder, "val", kind)
    text = path.read_text()
    for content in (text[: len(text) // 2], "", None):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        with pytest.raises(InputError) as error:
            read_split(folder, "val", progress=False)
        assert str(path) in str(error.value)


def test_nothing_left_and_unknown_split(folder):
    change(folder, "MANO_NeuralAnnot", lambda fits: fits.clear())
    with pytest.raises(InputError, match="no image is left of 8"):
        read_split(folder, "val", progress=False)
    with pytest.raises(InputError, match="train, val, test"):
        read_split(folder, "validation")


def test_keypoints_come_in_the_metrics_order(folder):
    table = read_images(folder, "val")
    joints, valid = read_joints(folder, "val", table)
    assert joints.shape == (8, 2, 21, 3) and valid.all()
    written = read_records(folder, "val")["joint_3d"]["1"]
    names = ("thumb", "index", "middle", "ring", "pinky")  # the dataset's: tip first, wrist last
    rows = [f"{name}{k}" for name in names for k in (4, 3, 2, 1)] + ["wrist"]
    for i, frame in enumerate(table.frame):
        world = np.array(written[str(frame)]["world_coord"])
        for j, name in enumerate(JOINTS):
            np.testing.assert_equal(joints[i, RIGHT, j], world[rows.index(name)])
            np.testing.assert_equal(joints[i, LEFT, j], world[21 + rows.index(name)])
    with pytest.raises(InputError, match="no frame 8 of capture 1"):
        read_joints(folder, "val", table.assign(frame=8))


@pytest.mark.skipif(not REAL.exists(), reason="the two real frames are not here")
def test_real_frames(tmp_path):
    table = read_images(REAL, "test")
    data = json.loads(annotation_file(REAL, "test", "data").read_text())
    boxes = {a["image_id"]: np.array(a["bbox"]) for a in data["annotations"]}
    cameras = json.loads(annotation_file(REAL, "test", "camera").read_text())
    joints, valid = read_joints(REAL, "test", table)
    assert len(table) == 2 and (REAL / "images/test" / table.file_name[0]).exists()
    for i, row in table.iterrows():
        camera = {k: np.array(v[row.camera]) for k, v in cameras[str(row.capture)].items()}
        intrinsics = np.array(
            [
                [camera["focal"][0], 0, camera["princpt"][0]],
                [0, camera["focal"][1], camera["princpt"][1]],
                [0, 0, 1],
            ]
        )
        as_tensor = torch.as_tensor
        points = world_to_camera(
            as_tensor(joints[i]), as_tensor(camera["camrot"]), as_tensor(camera["campos"])
        )
        pixels = project(points, as_tensor(intrinsics)).numpy()
        named = {"interacting": [LEFT, RIGHT], "right": [RIGHT]}[row.hand_type]
        low, size = np.split(boxes[row.image_id], 2)
        assert ((pixels[named] >= low) & (pixels[named] <= low + size)).all()
        np.testing.assert_equal(valid[i].all(1), [hand in named for hand in (LEFT, RIGHT)])
    shutil.copytree(REAL / "annotations", tmp_path / "annotations")
    annotation_file(tmp_path, "test", "MANO_NeuralAnnot").write_text("{}")
    with pytest.raises(InputError, match=r"MANO fit +2 +1 +0"):  # both fail the rule; one was dropped before
        read_split(tmp_path, "test", progress=False)
