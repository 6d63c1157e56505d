"""Preparation: what is plausible and wrong in images, cameras and fits is refused, or dropped and counted."""

import os
import resource

import numpy as np
import pytest
import simplejpeg
import torch
from layout import HEIGHT, WIDTH, image_paths, read_records, settings, write_records

from handdgcl.data.prepare import prepare_split
from handdgcl.files import InputError
from handdgcl.hands.topology import HANDS


def halved(path):
    image = simplejpeg.decode_jpeg(path.read_bytes())
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image[::2, ::2])))


def turned(path):
    image = simplejpeg.decode_jpeg(path.read_bytes())
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(np.rot90(image))))


def piped(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "reason"), [(halved, "167 x 256 px"), (turned, "512 x 334 px"), (piped, "not a file")]
)
def test_an_image_that_is_not_the_annotated_one_is_unreadable(folder, tmp_path, hands, spoil, reason):
    spoil(image_paths(folder)[0])
    with pytest.raises(InputError, match=f"1 of 10 images are unreadable.*\n.*{reason}"):
        prepare_split(folder, "train", tmp_path / "store", settings(), hands)


def test_an_image_larger_than_annotated_is_not_decoded(folder, tmp_path, hands):
    path = image_paths(folder)[0]
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = (60_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**33, limit[1]))
    try:
        with pytest.raises(InputError, match="60000 x 60000 px, annotated"):
            prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


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


def test_hands_in_the_dark_are_dropped_though_the_picture_is_bright(folder, tmp_path, hands):
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:30] = 255
    image_paths(folder)[0].write_bytes(simplejpeg.encode_jpeg(image))
    counts = prepare_split(folder, "train", tmp_path / "dark", settings(), hands).set_index("rule")
    assert counts.loc["image mean >= 10", "dropped"] == 0
    assert counts.loc["crop mean >= 10", ["dropped", "kept"]].tolist() == [1, 9]


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
