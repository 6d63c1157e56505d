"""Preparation: geometry and pixels against the annotation files, what is dropped, what survives a kill."""

import copy
import filecmp
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
import torch
from layout import (
    HEIGHT,
    WIDTH,
    image_paths,
    random_jpeg,
    read_records,
    settings,
    write_layout,
    write_records,
)

from handdgcl.data import part, prepare
from handdgcl.data.crop import hand_overlap
from handdgcl.data.prepare import prepare_split
from handdgcl.data.store import Store, read_manifest
from handdgcl.files import InputError, holding
from handdgcl.hands.camera import project
from handdgcl.hands.topology import HANDS

KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import handdgcl.data.part, handdgcl.data.prepare as prepare
from layout import settings
from handdgcl.hands import load_hands
handdgcl.data.part.PART_SIZE = 3
whole = prepare.make_part
prepare.make_part = lambda job, part: time.sleep(600) if part == 2 else whole(job, part)
prepare.prepare_split({folder!r}, "train", Path({out!r}), settings(workers=2), load_hands())
"""


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(part, "PART_SIZE", 3)


def test_store_agrees_with_annotations_and_pixels(folder, tmp_path, hands, small_parts):
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    blue = {}  # tells which image it is
    for k, path in enumerate(image_paths(folder)):
        blue[path.relative_to(folder / "images/train").as_posix()] = 60 + 15 * k
        ramp = np.stack([x * 200 / WIDTH + 50, y * 200 / HEIGHT + 50, x * 0 + 60 + 15 * k], -1)
        path.write_bytes(simplejpeg.encode_jpeg(ramp.round().astype(np.uint8), 98, "RGB"))
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    store, records = Store(tmp_path / "store"), read_records(folder, "train")
    batch = store.batch(range(10))
    pixels = project(batch.vertices, batch.intrinsics[:, None])  # [B,H,V,2]
    overlap = hand_overlap(pixels.numpy(), hands.faces.numpy(), size=96)
    np.testing.assert_allclose(store.table.iou, overlap, atol=0.05)
    camera = records["camera"]["0"]
    for i, row in store.table.iterrows():
        fits = records["MANO_NeuralAnnot"]["0"][str(row.frame)]
        stack = lambda key, fits=fits: torch.tensor([[fits[hand][key] for hand in HANDS]])
        world = hands(stack("pose"), stack("shape"), stack("trans"))[0].double().numpy() * 1000
        rotation, position = np.array(camera["camrot"][row.camera]), np.array(camera["campos"][row.camera])
        inside = (world - position) @ rotation.T  # [H,V,3] mm
        np.testing.assert_allclose(batch.vertices[i] * 1000, inside, atol=2e-3)
        full = inside[..., :2] / inside[..., 2:] * camera["focal"][row.camera] + camera["princpt"][row.camera]
        low, high = full.min((0, 1)), full.max((0, 1))
        scale = 0.8 * 96 / (high - low).max()
        np.testing.assert_allclose(pixels[i], (full - (low + high) / 2) * scale + 48, atol=2e-2)
        grid = np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5), -1)
        at = (grid - 48) / scale + (low + high) / 2  # where each crop pixel looks in the full image
        edge = 8 / scale + 2  # JPEG's blocks spread the border of the image
        seen = ((at > edge) & (at < np.array([WIDTH, HEIGHT]) - edge)).all(-1)
        expected = at * 200 / [WIDTH, HEIGHT] + 50
        found = batch.image[i, :2].permute(1, 2, 0).numpy()
        error = (found - expected)[seen]  # one crop pixel is more than one level
        assert abs(batch.image[i, 2].numpy()[seen].mean() - blue[row.file_name]) < 3
        assert seen.mean() > 0.3 and np.abs(error).max() < 6 and np.abs(error.mean(0)).max() < 0.25
        hidden = ((at < -edge) | (at > np.array([WIDTH, HEIGHT]) + edge)).any(-1)
        assert batch.image[i, :, hidden].float().mean() < 5 if hidden.any() else True


def test_neither_a_kill_nor_workers_change_a_byte(folder, tmp_path, hands, small_parts):
    out, work = tmp_path / "store", tmp_path / "store.partial"
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(folder), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    finished = [work / f"part-{part:05d}.arrow" for part in (0, 1, 3)]
    while not all(path.exists() for path in finished):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)  # ends when the workers, which hold its output open, have ended too
    assert not out.exists()
    (work / ".1-part-00002.arrow").write_bytes(b"half a part")
    (work / "part-00002.arrow").write_bytes(b"damaged by something else")
    before = [path.stat().st_mtime_ns for path in finished]
    prepare_split(folder, "train", out, settings(), hands)
    assert [(out / path.name).stat().st_mtime_ns for path in finished] == before
    prepare_split(folder, "train", tmp_path / "uninterrupted", settings(), hands)
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "uninterrupted").iterdir())
    assert filecmp.cmpfiles(out, tmp_path / "uninterrupted", names, shallow=False) == (names, [], [])
    assert not work.exists()


def test_same_input_is_not_prepared_twice_other_input_is(folder, tmp_path, hands):
    out = tmp_path / "store"
    first = prepare_split(folder, "train", out, settings(), hands)
    before = (out / "store.json").stat().st_mtime_ns
    pd.testing.assert_frame_equal(prepare_split(folder, "train", out, settings(workers=2), hands), first)
    assert (out / "store.json").stat().st_mtime_ns == before
    path = image_paths(folder)[0]
    path.write_bytes(path.read_bytes() + b"\0")
    other = copy.deepcopy(hands)
    other.joint_regressor[0, 0, 0] += 1e-3
    seen = {read_manifest(out).fingerprint}
    changes = {"image_size": 64}, {"fill": 0.7}, {"min_brightness": 1.0}
    for changed, model in (({}, hands), *((values, hands) for values in changes), ({}, other)):
        prepare_split(folder, "train", out, settings(**changed), model)
        assert Store(out).size == changed.get("image_size", 96)
        seen.add(read_manifest(out).fingerprint)
    assert len(seen) == 6


def test_other_code_of_the_crop_prepares_anew(folder, tmp_path, hands, monkeypatch):
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    before = read_manifest(tmp_path / "store").fingerprint
    monkeypatch.setattr(prepare, "code_digest", lambda *modules, leave_out: "changed code")
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    assert read_manifest(tmp_path / "store").fingerprint != before


def test_an_image_that_can_be_read_again_comes_back(folder, tmp_path, hands):
    path, lenient = image_paths(folder)[4], settings(max_unreadable=0.2)
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))  # set aside by a download that stopped
    with pytest.raises(InputError, match="max_unreadable"):
        prepare_split(folder, "train", tmp_path / "strict", settings(), hands)
    prepare_split(folder, "train", tmp_path / "store", lenient, hands)
    assert len(Store(tmp_path / "store")) == 9
    before = read_manifest(tmp_path / "store").fingerprint
    path.write_bytes(whole)
    for name in ("strict", "store"):
        prepare_split(folder, "train", tmp_path / name, lenient, hands)
        assert len(Store(tmp_path / name)) == 10
    assert read_manifest(tmp_path / "store").fingerprint != before  # rows of the nine are trained anew


def test_a_kill_while_the_old_store_goes_leaves_a_whole_one(folder, tmp_path, hands, monkeypatch):
    out = tmp_path / "store"
    prepare_split(folder, "train", out, settings(), hands)
    remove = prepare.shutil.rmtree

    def killed(path, **how):
        if Path(path).exists():
            (Path(path) / "store.json").unlink()
            raise KeyboardInterrupt
        remove(path, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare.shutil, "rmtree", killed)
        prepare_split(folder, "train", out, settings(fill=0.7), hands)
    prepare_split(folder, "train", out, settings(fill=0.7), hands)
    assert read_manifest(out).fill == 0.7 and len(Store(out).check()) == 10
    assert [path.name for path in tmp_path.glob(".store.*")] == [".store.lock"]


def test_one_process_at_a_time_prepares_a_store(folder, tmp_path, hands):
    with holding(tmp_path / "store", "prepares it"), pytest.raises(InputError, match="another process"):
        prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    assert not (tmp_path / "store").exists()


def test_dark_images_and_hands_in_the_dark_are_dropped(folder, tmp_path, hands):
    dark, dim, blue, lamp = image_paths(folder)[:4]
    for path, brightness in ((dark, 9), (dim, 11)):
        path.write_bytes(random_jpeg(np.random.default_rng(0), brightness=brightness))
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 2] = 60  # a mean of 20 over the channels
    blue.write_bytes(simplejpeg.encode_jpeg(image))
    image[:], image[:30] = 0, 255  # away from the hands
    lamp.write_bytes(simplejpeg.encode_jpeg(image))
    for limit in ("max_dark", "max_dropped"):
        with pytest.raises(InputError, match=f"1 of 10 .*{limit}"):
            prepare_split(folder, "train", tmp_path / "store", settings(**{limit: 0.05}), hands)
    counts = prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    dropped = counts.set_index("rule").dropped
    assert dropped["image mean >= 10"] == dropped["crop mean >= 10"] == 1
    pd.testing.assert_frame_equal(counts, pd.read_csv(tmp_path / "store" / "counts.csv"))
    names = {path.relative_to(folder / "images/train").as_posix() for path in (dark, lamp)}
    left = set(Store(tmp_path / "store").table.file_name)
    assert len(left) == 8 and not names & left


def test_a_single_vertex_behind_the_camera_is_enough(folder, tmp_path, hands):
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    sample, z = Store(tmp_path / "store").table.iloc[0], Store(tmp_path / "store").vertices([0])[..., 2]
    first, second = z.flatten().sort().values[:2].tolist()
    records = read_records(folder, "train")
    camera = records["camera"]["0"]
    forward = 1000 * (first + second) / 2 * np.array(camera["camrot"][sample.camera])[2]  # mm, in the world
    camera["campos"][sample.camera] = (np.array(camera["campos"][sample.camera]) + forward).tolist()
    write_records(folder, "train", records)
    counts = prepare_split(folder, "train", tmp_path / "near", settings(), hands)
    table = Store(tmp_path / "near").table
    assert sample.image_id not in set(table.image_id)
    assert counts.set_index("rule").loc["hands in front of the camera", "dropped"] == 10 - len(table)


def test_one_sample(tmp_path, hands):
    folder = write_layout(tmp_path / "one", frames=1, cameras=1, splits=("test",))
    prepare_split(folder, "test", tmp_path / "store", settings(workers=2), hands)
    assert Store(tmp_path / "store").table.frame.tolist() == [7]


def test_full_disk_is_one_clear_error(folder, tmp_path, hands):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(InputError, match=r"part-00000.arrow: not written .*File too large"):
            prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in tmp_path.glob("store.partial/*")] == ["fingerprint"]
    prepare_split(folder, "train", tmp_path / "store", settings(), hands)
    assert len(Store(tmp_path / "store")) == 10


def test_a_folder_that_is_no_store_is_left_alone(folder, tmp_path, hands):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "other.partial").write_text("mine")
    refusals = {"store": "is no store", "link": "link: a link", "other": r"other\.partial: no folder"}
    for name, message in refusals.items():
        with pytest.raises(InputError, match=message):
            prepare_split(folder, "train", tmp_path / name, settings(), hands)
    for mine in (tmp_path / "store" / "thesis.txt", tmp_path / "other.partial"):
        assert mine.read_text() == "mine"
