"""Arrays read by rows: the same as NumPy reads them at once, and damage named."""

import zipfile

import numpy as np
import pytest

from handdgcl.evaluate.npz import DAMAGE, open_npz
from handdgcl.files import InputError


@pytest.fixture(params=[np.savez, np.savez_compressed])
def file(request, tmp_path):
    random = np.random.default_rng(0)
    arrays = {"a": random.normal(size=(50, 7, 3)), "b": np.arange(50, dtype=np.int16), "c": np.eye(3)}
    arrays["turned"] = np.asfortranarray(arrays["a"])
    request.param(tmp_path / "f.npz", **arrays)
    return tmp_path / "f.npz", arrays


def test_rows_are_those_of_the_array_in_any_order(file):
    path, arrays = file
    found = open_npz(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        rows = found[name]
        assert rows.shape == array.shape and rows.dtype == array.dtype and len(rows) == len(array)
        assert (rows.ndim, rows.size) == (array.ndim, array.size)
        for part in (slice(0, 2), slice(2, 20), slice(20, 90), slice(1, 3), slice(None), slice(9, 9)):
            assert np.array_equal(rows[part], array[part])
    assert isinstance(found["turned"], np.ndarray)


def test_a_changed_byte_is_damage(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, a=np.ones((50, 7, 3)))
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    rows = open_npz(path)["a"]
    assert len(rows[:10]) == 10
    with pytest.raises(InputError, match=r"f\.npz: a\.npy: damaged .*CRC"):
        rows[10:]


def test_less_data_than_the_header_says_is_damage(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((50, 3)))
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as out:
        out.writestr("a.npy", (tmp_path / "a.npy").read_bytes()[:-8])
        out.writestr("b.txt", "no array")
    with pytest.raises(DAMAGE):
        open_npz(tmp_path / "f.npz")
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as out:
        out.writestr("a.npy", (tmp_path / "a.npy").read_bytes()[:-8])
    rows = open_npz(tmp_path / "f.npz")["a"]
    assert (rows[:49] == 1).all()
    with pytest.raises(InputError, match=r"a\.npy: damaged"):
        rows[40:]
