"""The written data set: layout, geometry, contact, splits, determinism, failures."""

import errno
import json
import signal
import subprocess
import sys
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import cv2
import igl
import numpy as np
import pytest
import simplejpeg
import torch

from handdgcl.config import Generate, Splits
from handdgcl.files import InputError
from handdgcl.hands.contact import seal, sealed_faces
from handdgcl.hands.topology import INTERHAND_ORDER, LEFT, RIGHT
from handdgcl.render import dataset as writing
from handdgcl.render import picture, write_dataset

SPLITS = ("train", "val", "test")
GENERATE = Generate(
    images=Splits(train=15, val=3, test=4),
    subjects=Splits(train=2, val=1, test=1),
    cameras=2,
    interacting=0.6,
    seed=3,
)


def annotations(folder, split):
    names = ("data", "camera", "joint_3d", "MANO_NeuralAnnot")
    base = folder / "annotations" / split
    return {name: json.loads((base / f"InterHand2.6M_{split}_{name}.json").read_text()) for name in names}


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, hands):
    folder = tmp_path_factory.mktemp("generated") / "interhand"
    write_dataset(folder, GENERATE, hands, workers=2)
    return folder


def frames(dataset, hands, split):
    """(right and left fit, joint record, vertices `[H, V, 3]` mm or nan) of each frame, from the files."""
    content = annotations(dataset, split)
    for capture, moments in content["MANO_NeuralAnnot"].items():
        for frame, fits in moments.items():
            vertices = np.full((2, 778, 3), np.nan)
            for hand, name in enumerate(("left", "right")):
                if fits[name] is not None:
                    pose, shape, trans = (torch.tensor(fits[name][k]) for k in ("pose", "shape", "trans"))
                    both = lambda value: value.expand(1, 2, -1)
                    vertices[hand] = hands(both(pose), both(shape), both(trans))[0, hand].numpy() * 1e3
            yield fits, content["joint_3d"][capture][frame], vertices


def test_layout_and_counts(dataset):
    for split in SPLITS:
        data = annotations(dataset, split)["data"]
        kinds = {a["image_id"]: a["hand_type"] for a in data["annotations"]}
        assert len(kinds) == len(data["images"]) == len(data["annotations"])
        assert set(kinds) == {image["id"] for image in data["images"]}
        assert list(kinds.values()).count("interacting") >= getattr(GENERATE.images, split)
        assert set(kinds.values()) & {"right", "left"}  # for the selection to drop
        means = []
        for image in data["images"]:
            jpeg = (dataset / "images" / split / image["file_name"]).read_bytes()
            pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
            assert pixels.shape == (image["height"], image["width"], 3)
            means.append(pixels.mean())
        assert min(means) > 12 and np.std(means) > 1  # the benchmark drops images below 10; looks vary
        root = dataset / "images" / split
        files = {str(p.relative_to(root)) for p in root.glob("**/*.jpg")}
        assert files == {image["file_name"] for image in data["images"]}


def test_splits_share_no_subject_and_no_shape(dataset):
    subjects, shapes = [], []
    for split in SPLITS:
        content = annotations(dataset, split)
        subjects.append({image["subject"] for image in content["data"]["images"]})
        moments = [m for moments in content["MANO_NeuralAnnot"].values() for m in moments.values()]
        shapes.append({tuple(fit["shape"]) for m in moments for fit in m.values() if fit})
    for sets in (subjects, shapes):
        assert len(set.union(*sets)) == sum(map(len, sets))
    assert len(subjects[0]) == 2


def test_joints_are_the_models_and_missing_hands_are_marked(dataset, hands):
    for fits, record, vertices in frames(dataset, hands, "train"):
        joints = hands.joints(torch.tensor(vertices)[None])[0].numpy()
        for block, (hand, name) in enumerate(((RIGHT, "right"), (LEFT, "left"))):
            rows = slice(21 * block, 21 * block + 21)
            present = fits[name] is not None
            assert all(valid == [present] for valid in record["joint_valid"][rows])
            assert (name == record["hand_type"] or record["hand_type"] == "interacting") == present
            if present:
                expected = joints[hand, list(INTERHAND_ORDER)]
                np.testing.assert_allclose(record["world_coord"][rows], expected, atol=2e-3)


def test_enough_hands_touch_and_none_is_deeper_than_3_mm(dataset, hands):
    faces, touching = sealed_faces(hands), []
    for split in SPLITS:
        for fits, _, vertices in frames(dataset, hands, split):
            if None in fits.values():
                continue
            sealed, kind = seal(vertices), igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
            signed = [igl.signed_distance(sealed[1 - h], sealed[h], faces[h], kind)[0] for h in (LEFT, RIGHT)]
            nearest = np.concatenate(signed).min()
            assert nearest > -3
            touching.append(nearest <= 3)
    assert len(touching) == 12 and np.mean(touching) >= GENERATE.interacting


def test_projected_vertices_land_on_the_drawn_hands(tmp_path, hands, monkeypatch):
    wall = lambda look, camera, *_: np.tile(np.float32([0, 1, 0]), (camera.height, camera.width, 1))
    monkeypatch.setattr(picture, "_wall", wall)
    folder, few = tmp_path / "data", Splits(train=4, val=1, test=1)
    generate = Generate(images=few, subjects=GENERATE.subjects, cameras=2, interacting=1.0, seed=5)
    write_dataset(folder, generate, hands, workers=0)
    content = annotations(folder, "train")
    moments = [(c, f) for c, moments in content["MANO_NeuralAnnot"].items() for f in moments]
    world = dict(zip(moments, (v for _, _, v in frames(folder, hands, "train")), strict=True))
    for image in content["data"]["images"]:
        jpeg = (folder / "images" / "train" / image["file_name"]).read_bytes()
        pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
        drawn = np.abs(pixels.astype(int) - [0, 255, 0]).max(2) > 60
        camera = content["camera"][str(image["capture"])]
        camera = {key: np.array(of_all[image["camera"]]) for key, of_all in camera.items()}
        points = world[str(image["capture"]), str(image["frame_idx"])].reshape(-1, 3)
        points = (points[~np.isnan(points[:, 0])] - camera["campos"]) @ camera["camrot"].T
        x, y = (points[:, :2] / points[:, 2:] * camera["focal"] + camera["princpt"]).T.astype(int)
        # the outline is not whole pixels
        beside = cv2.dilate(drawn.astype(np.uint8), np.ones((3, 3), np.uint8))
        assert beside[y, x].mean() > 0.985
        assert drawn[(y + 170) % image["height"], (x + 130) % image["width"]].mean() < 0.7
        assert drawn.mean() < 0.7


def test_bytes_do_not_depend_on_the_number_of_workers(dataset, tmp_path, hands):
    write_dataset(tmp_path / "alone", GENERATE, hands, workers=0)
    alone, together = contents(tmp_path / "alone"), contents(dataset)
    assert alone.keys() == together.keys()
    assert all(alone[name] == together[name] for name in alone)


def test_a_worker_is_handed_no_more_than_a_pipe_holds(tmp_path, hands, monkeypatch):
    handed = []

    def pool(workers, context, *start):
        handed.append(len(ForkingPickler.dumps(start)))
        raise OSError

    monkeypatch.setattr(writing, "ProcessPoolExecutor", pool)
    with pytest.raises(InputError):
        write_dataset(tmp_path / "set", GENERATE, hands, workers=16)
    assert handed[0] < 2**15  # a pipe's 64 KiB hold a module's name and paths as well


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, hands, monkeypatch):
    written = []

    def write_bytes(path, data):
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(InputError, match=r"data: .*No space left"):
        write_dataset(tmp_path / "data", GENERATE, hands, workers=0)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path, hands):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        write_dataset(tmp_path, GENERATE, hands, workers=0)
    assert (tmp_path / "mine.txt").read_text() == "keep"


KILLED = """
from pathlib import Path
from msgspec.structs import replace
from handdgcl.config import Splits, load_config
from handdgcl.hands import load_hands
from handdgcl.render import write_dataset
if __name__ == "__main__":
    generate = replace(load_config("params.yaml").generate, images=Splits(train=9999, val=1, test=1))
    print("begun", flush=True)
    write_dataset(Path({out!r}), generate, load_hands(), workers=2)
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "set"
    script.write_text(KILLED.format(out=str(out)))
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # ends when the workers, which hold its output open, have ended too
    assert not out.exists()
