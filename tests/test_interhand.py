"""The reader: joined by id, the rules in order, errors that name file and field, two real frames."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from layout import annotation_file, read_records, write_layout, write_records

from handdgcl.data.interhand import read_images, read_split
from handdgcl.files import InputError
from handdgcl.hands.camera import intrinsic_matrix, project, world_to_camera
from handdgcl.hands.topology import HANDS

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
    selection = read_split(folder, "val")
    assert len(selection) == 8
    assert selection.table.image_id.tolist() == [image["id"] for image in records["data"]["images"]]
    by_id = {image["id"]: image for image in records["data"]["images"]}
    for i, row in selection.table.iterrows():
        image = by_id[row.image_id]
        assert row.file_name == image["file_name"] and (selection.images / row.file_name).exists()
        fits = records["MANO_NeuralAnnot"]["1"][str(image["frame_idx"])]
        camera = records["camera"]["1"]
        for hand, name in enumerate(HANDS):
            found = (values[selection.fit[i], hand] for values in selection.fits)
            for values, key in zip(found, ("pose", "shape", "trans"), strict=True):
                np.testing.assert_allclose(values, fits[name][key], rtol=1e-6)
        view = selection.view[i]
        np.testing.assert_equal(selection.views.rotation[view], camera["camrot"][image["camera"]])
        np.testing.assert_equal(selection.views.position[view], camera["campos"][image["camera"]])
        focal, principal = camera["focal"][image["camera"]], camera["princpt"][image["camera"]]
        expected = [[focal[0], 0, principal[0]], [0, focal[1], principal[1]], [0, 0, 1]]
        np.testing.assert_equal(selection.views.intrinsics[view], expected)


@pytest.mark.parametrize("absent", [True, False])
def test_rules_apply_in_the_benchmarks_order(folder, absent):
    """A fit that is not there is absent from the file, or null."""
    records = read_records(folder, "val")
    frame_of = {image["id"]: str(image["frame_idx"]) for image in records["data"]["images"]}
    fits = records["MANO_NeuralAnnot"]["1"]
    fits["7"]["left"] = fits["17"] = None  # two views without the left hand, two without any
    if absent:
        del fits["7"]["left"], fits["17"]
    lines = records["data"]["annotations"]
    of_frame = lambda frame: [line for line in lines if frame_of[line["image_id"]] == frame]
    of_frame("7")[0]["hand_type"] = "right"
    uncertain, missing = of_frame("27")
    uncertain["hand_type_valid"] = 0
    lines.remove(missing)
    write_records(folder, "val", records)
    selection = read_split(folder, "val")
    counts = selection.counts.drop(columns="rule").to_numpy().tolist()
    assert counts == [[0, 0, 8], [2, 2, 6], [2, 1, 5], [4, 3, 2]]
    assert selection.table.frame.tolist() == [37, 37]


def at(content, keys):
    for key in keys:
        content = content[key]
    return content


def delete(*keys):
    return lambda content: at(content, keys[:-1]).pop(keys[-1])


def put(value, *keys):
    return lambda content: at(content, keys[:-1]).__setitem__(keys[-1], value)


@pytest.mark.parametrize(
    ("kind", "edit", "named"),
    [
        ("data", delete("images", 3, "file_name"), "file_name"),
        ("data", put("both", "annotations", 2, "hand_type"), r"annotations\[2\].hand_type"),
        ("data", put(123456, "annotations", 0, "image_id"), "image_id 123456"),
        ("data", lambda d: d["images"].append(d["images"][0]), "images: id .* twice"),
        ("data", lambda d: d["annotations"].append(d["annotations"][0]), "annotations: image_id .* twice"),
        ("data", put("../../etc/passwd", "images", 0, "file_name"), "file_name '../../etc/passwd'"),
        ("data", put("/dev/zero", "images", 0, "file_name"), "file_name '/dev/zero'"),
        ("data", put("a\0.jpg", "images", 0, "file_name"), "file_name "),
        ("camera", put([[float("nan")] * 3] * 3, "1", "camrot", "401000"), "invalid character .*at .*NaN"),
        ("camera", delete("1"), "capture 1"),
        ("camera", delete("1", "campos"), "campos"),
        ("camera", delete("1", "focal", "401001"), "capture 1: focal: no camera 401001"),
        ("camera", put([1.0], "1", "princpt", "401000"), "princpt"),
        ("MANO_NeuralAnnot", delete("1", "7", "left", "trans"), "left.*trans|trans.*left"),
        ("MANO_NeuralAnnot", put([0.0] * 45, "1", "7", "right", "pose"), "right.pose"),
    ],
)
def test_format_errors_name_file_and_field(folder, kind, edit, named):
    change(folder, kind, edit)
    with pytest.raises(InputError, match=named) as error:
        read_split(folder, "val")
    assert str(annotation_file(folder, "val", kind)) in str(error.value)


@pytest.mark.parametrize("kind", ["data", "camera", "MANO_NeuralAnnot"])
def test_missing_cut_empty_and_endless_files_are_named(folder, kind):
    path = annotation_file(folder, "val", kind)
    text = path.read_text()
    endless = '{"1": {"7": {"of no name": ' + "[" * 20_000  # where the reader skips what it does not ask for
    for content in (text[: len(text) // 2], "", "[" * 20_000, endless, None):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        with pytest.raises(InputError) as error:
            read_split(folder, "val")
        assert str(path) in str(error.value)


def test_nothing_left_and_unknown_split(folder):
    change(folder, "MANO_NeuralAnnot", lambda fits: fits.clear())
    with pytest.raises(InputError, match="no image is left of 8"):
        read_split(folder, "val")
    with pytest.raises(InputError, match="train, val, test"):
        read_split(folder, "validation")


@pytest.mark.skipif(not REAL.exists(), reason="the two real frames are not here")
def test_real_frames(tmp_path):
    """The cameras' convention: real keypoints fall into the boxes that the data set gives."""
    read = lambda kind: json.loads(annotation_file(REAL, "test", kind).read_text())
    table, keypoints, cameras = read_images(REAL, "test"), read("joint_3d"), read("camera")
    boxes = {a["image_id"]: np.array(a["bbox"]) for a in read("data")["annotations"]}
    assert len(table) == 2 and (REAL / "images/test" / table.file_name[0]).exists()
    for row in table.itertuples():
        camera = {k: torch.tensor(v[row.camera]).double() for k, v in cameras[str(row.capture)].items()}
        world = torch.tensor(keypoints[str(row.capture)][str(row.frame)]["world_coord"]).double()
        k = torch.as_tensor(intrinsic_matrix(camera["focal"].numpy(), camera["princpt"].numpy()))
        pixels = project(world_to_camera(world, camera["camrot"], camera["campos"]), k).numpy()
        shown = {"interacting": slice(None), "right": slice(21)}[row.hand_type]  # right hand first
        low, size = np.split(boxes[row.image_id], 2)
        assert ((pixels[shown] >= low) & (pixels[shown] <= low + size)).all()
    shutil.copytree(REAL / "annotations", tmp_path / "annotations")
    annotation_file(tmp_path, "test", "MANO_NeuralAnnot").write_text("{}")
    with pytest.raises(InputError, match=r"MANO fit +2 +1 +0"):  # both fail the rule; one was dropped before
        read_split(tmp_path, "test")


@pytest.mark.parametrize("kind", ["camera", "MANO_NeuralAnnot"])
def test_a_capture_that_stands_twice_is_named(folder, kind):
    path = annotation_file(folder, "val", kind)
    text = path.read_text()
    path.write_text(f"{text[:-1]}, {text[1:]}")
    with pytest.raises(InputError, match=f"{kind}.*stands twice"):
        read_split(folder, "val")
