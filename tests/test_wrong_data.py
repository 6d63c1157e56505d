"""Preparation: what is plausible and wrong in images, cameras and fits is refused, or dropped and counted."""

import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
import torch
from layout import HEIGHT, WIDTH, image_paths, read_records, settings, write_records

from handdgcl.data.prepare import prepare_split
from handdgcl.data.store import Store
from handdgcl.files import InputError
from handdgcl.hands.topology import HANDS


def redrawn(change):
    """Spoil by encoding the image anew, changed."""
    encode = lambda image: simplejpeg.encode_jpeg(np.ascontiguousarray(change(image)))
    return lambda path: path.write_bytes(encode(simplejpeg.decode_jpeg(path.read_bytes())))


def piped(path):
    path.unlink()
    os.mkfifo(path)


def announced_huge(path):
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    path.write_bytes(content)


SPOILED = {  # and the reason that is listed
    "No such file": Path.unlink,
    "a folder, pipe or device": piped,
    "JPEG": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "JPEG ": lambda path: path.write_bytes(b"\x89PNG"),
    "167 x 256 px": redrawn(lambda image: image[::2, ::2]),
    "512 x 334 px": redrawn(np.rot90),
    "60000 x 60000 px": announced_huge,
}


def test_images_that_are_not_the_annotated_ones_are_listed_and_dropped(folder, tmp_path, hands):
    spoiled = dict(zip(SPOILED, image_paths(folder), strict=False))
    for reason, path in spoiled.items():
        SPOILED[reason](path)
    prepare = lambda **limits: prepare_split(folder, "train", tmp_path / "store", settings(**limits), hands)
    with pytest.raises(InputError, match=r"4 of 10 images .*data\.max_unreadable = 30.00%.*\n.*image"):
        prepare(max_unreadable=0.3)
    with pytest.raises(InputError, match=r"3 of 10 images .*data\.max_dropped = 20.00%"):
        prepare(max_unreadable=0.4, max_dropped=0.2)
    assert not (tmp_path / "store").exists()
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**33, limit[1]))
    try:
        counts = prepare(max_unreadable=0.4).set_index("rule")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    assert counts.loc[["image is readable", "image of its annotated size"], "dropped"].tolist() == [4, 3]
    listed = pd.read_csv(tmp_path / "store" / "unreadable.csv").set_index("file_name").reason
    names = {reason: path.relative_to(folder / "images/train").as_posix() for reason, path in spoiled.items()}
    assert len(listed) == 7 and all(reason.strip() in listed[name] for reason, name in names.items())
    assert not set(names.values()) & set(Store(tmp_path / "store").table.file_name)
    with pytest.raises(InputError, match="max_unreadable"):  # a limit changed since
        prepare(max_unreadable=0.3)


def each_camera(field, edit):
    def change(records):
        of_all = records["camera"]["0"][field]
        for name, value in of_all.items():
            of_all[name] = np.asarray(edit(np.array(value))).tolist()

    return change


def in_millimetres(records):
    for fits in records["MANO_NeuralAnnot"]["0"].values():
        for fit in fits.values():
            fit["trans"] = [1000 * x + 300 for x in fit["trans"]]


def no_angles(records):
    records["MANO_NeuralAnnot"]["0"]["7"]["left"]["pose"][3] = 1e39


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (each_camera("camrot", np.transpose), "'(hands in front of the camera|both hands in the picture)'"),
        (
            each_camera("princpt", lambda _: [3 * WIDTH, 3 * HEIGHT]),
            "10 of 10 .* 'both hands in the picture'",
        ),
        (each_camera("focal", lambda f: f / 334), "capture 0: camera 401000: focal .*, 2 such cameras"),
        (each_camera("camrot", lambda r: 2 * r), "capture 0: camera 401000: camrot"),
        (each_camera("campos", lambda _: [1e39, 0, 0]), "capture 0: camera 401000: campos"),
        (in_millimetres, "capture 0: frame 7: trans .*, 5 such fits; metres"),
        (no_angles, "capture 0: frame 7: pose .*, 1 such fits; rad"),
    ],
)
def test_cameras_and_fits_in_another_unit_or_frame(folder, tmp_path, hands, edit, message):
    records = read_records(folder, "train")
    edit(records)
    write_records(folder, "train", records)
    with pytest.raises(InputError, match=message):
        prepare_split(folder, "train", tmp_path / "store", settings(max_dropped=0.1), hands)
    assert not (tmp_path / "store").exists()


def keypoints(folder, hands):
    """joint_3d.json as the data set has it: right hand first, tip to base, wrist last."""
    records, frames = read_records(folder, "train"), {}
    order = [4 * finger + k for finger in range(5) for k in (4, 3, 2, 1)] + [0]
    for frame, fits in records["MANO_NeuralAnnot"]["0"].items():
        stack = lambda key, fits=fits: torch.tensor([[fits[hand][key] for hand in HANDS]])
        joints = hands.joints(hands(stack("pose"), stack("shape"), stack("trans")))[0].numpy()
        world = 1000 * np.concatenate([joints[1, order], joints[0, order]])
        frames[frame] = {"world_coord": world.tolist(), "joint_valid": [[1]] * 42, "hand_type": "interacting"}
    write_records(folder, "train", {"joint_3d": {"0": frames}})


def exchange(records):
    for fits in records["MANO_NeuralAnnot"]["0"].values():
        fits["left"], fits["right"] = fits["right"], fits["left"]


def test_fits_are_compared_with_the_keypoints_beside_them(folder, tmp_path, hands):
    keypoints(folder, hands)
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    records = read_records(folder, "train")
    exchange(records)  # while the hands are near each other
    write_records(folder, "train", records)
    with pytest.raises(InputError, match="so they are exchanged"):
        prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    exchange(records)
    for fits in records["MANO_NeuralAnnot"]["0"].values():
        for hand, shift in (("left", 0.2), ("right", -0.2)):
            fits[hand]["trans"][0] += shift
    write_records(folder, "train", records)
    with pytest.raises(InputError, match=r"MANO_NeuralAnnot\.json: .* 200 mm .* keypoints"):
        prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    keypoints(folder, hands)
    exchange(records)
    write_records(folder, "train", records)
    with pytest.raises(InputError, match="exchanged"):
        prepare_split(folder, "train", tmp_path / "store", settings(), hands)


@pytest.mark.parametrize(
    "content", [b"{", b'{"0": {"7": {}}}', b'{"0": {"7": {"world_coord": [[1, 2, 3]]}}}', b'{"9": {}}']
)
def test_keypoints_that_are_none_are_named(folder, tmp_path, hands, content):
    keypoints(folder, hands)
    next(folder.glob("annotations/train/*joint_3d.json")).write_bytes(content)
    with pytest.raises(InputError, match=r"joint_3d\.json: "):
        prepare_split(folder, "train", tmp_path / "store", settings(), hands)
