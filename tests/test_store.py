"""The store: random access, damage, pickling."""

import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layout import settings, write_layout

import handdgcl.data.part
from handdgcl.data.loader import open_store
from handdgcl.data.prepare import prepare_split
from handdgcl.data.store import Store, check_hands
from handdgcl.files import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, hands):
    """Four parts of 3, 3, 3 and 1 samples."""
    root = tmp_path_factory.mktemp("store")
    write_layout(root, frames=5, splits=("train",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handdgcl.data.part, "PART_SIZE", 3)
        prepare_split(root, "train", root / "store", settings(), hands)
    return root / "store"


def fields(batch):
    return vars(batch).values()


def test_any_order_any_part(folder):
    store = Store(folder)
    indices = [9, 0, 3, 3, 8, 2]
    batch = store.batch(indices)
    assert batch.image.shape == (6, 3, 96, 96) and batch.image.dtype == torch.uint8
    assert batch.vertices.shape == (6, 2, 778, 3) and batch.intrinsics.dtype == torch.float32
    singles = [fields(store.batch([i])) for i in indices]
    for together, alone in zip(fields(batch), zip(*singles, strict=True), strict=True):
        assert torch.equal(together, torch.cat(alone))
    assert batch.index.tolist() == indices
    assert len({tuple(v.flatten()[:9].tolist()) for v in store.vertices(range(10))}) == 10
    assert torch.equal(store.images(torch.tensor(indices)), store.images(np.array(indices)))


def test_decoded_and_pickled_stores_are_the_same(folder):
    store, decoded = Store(folder), Store(folder, decoded=True)
    copy = pickle.loads(pickle.dumps(decoded))
    assert len(pickle.dumps(decoded)) < 1000  # the path, not the images
    for other in (decoded, copy):
        for a, b in zip(fields(store.batch([5, 1])), fields(other.batch([5, 1])), strict=True):
            assert torch.equal(a, b)


def test_many_parts_hold_no_files_open(folder):
    before = len(os.listdir("/proc/self/fd"))
    store = Store(folder)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(store.images(range(10))) == 10


@pytest.mark.parametrize("indices", [[10], [-1], [3, 99]])
def test_index_out_of_range(folder, indices):
    for decoded in (False, True):
        for read in (Store.vertices, Store.intrinsics, Store.images):
            with pytest.raises(IndexError, match="indices"):
                read(Store(folder, decoded=decoded), indices)


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "text": lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
    "another part": lambda path: shutil.copy(path.with_name("part-00003.arrow"), path),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_part_is_named(folder, tmp_path, damage):
    copy = shutil.copytree(folder, tmp_path / "store")
    damage(copy / "part-00001.arrow")
    with pytest.raises(InputError, match=r"part-00001\.arrow"):
        Store(copy)


def test_damaged_image_is_named(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "store")
    path = copy / "part-00002.arrow"
    content = bytearray(path.read_bytes())
    start = content.rindex(b"\xff\xd8\xff")  # the last JPEG
    content[start : start + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    store = Store(copy)
    assert len(store.images([7])) == 1
    with pytest.raises(InputError, match=r"part-00002.arrow: image of row 2"):
        store.images([7, 8])


def test_missing_and_damaged_manifests_are_named(folder, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*store\.json"):
        Store(tmp_path / "nowhere")
    copy = shutil.copytree(folder, tmp_path / "store")
    (copy / "store.json").write_text('{"fingerprint": "a", "rows": [1]}')
    with pytest.raises(InputError, match=r"store.json: .*image_size"):
        Store(copy)


def test_a_flipped_bit_is_found_and_made_again(folder, tmp_path, hands):
    shutil.copytree(folder.parent, tmp_path / "data")
    out, random = tmp_path / "data" / "store", np.random.default_rng(0)
    open_store(out)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in sorted(name for name in whole if name.endswith(".arrow")):
        content = bytearray(whole[name])
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))
        (out / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: (damaged|missing|not the part)"):
            open_store(out)
        (out / name).write_bytes(whole[name])
    (out / name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handdgcl.data.part, "PART_SIZE", 3)
        prepare_split(tmp_path / "data", "train", out, settings(), hands)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole


def test_a_store_is_used_with_the_hands_it_was_made_with(tiny_store, hands):
    check_hands(tiny_store / "val", hands)
    with pytest.raises(InputError, match="val: made with other hand models"):
        check_hands(tiny_store / "val", SimpleNamespace(fingerprint=lambda: "another"))
