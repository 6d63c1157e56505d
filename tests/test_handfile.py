"""Files of hands: what is refused, by name and sample."""

import io
import zipfile

import numpy as np
import pytest
from scored import with_value

from handdgcl.evaluate.handfile import check_arrays, in_order_of, read_hand_file
from handdgcl.files import InputError


@pytest.fixture
def prediction():
    return {h: np.random.default_rng(0).normal(0, 0.03, (6, 778, 3)) for h in ("left", "right")}


def spoiled(arrays, **changes):
    return {name: np.array(value) for name, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"left": None}, r"P\.npz: array 'left' is missing; it has right"),
        (lambda t: {"left": t["left"][:4]}, r"P\.npz: right: shape \[6, 778, 3\]; expected \[4, 778, 3\]"),
        (lambda t: {"left": t["left"][:, :777]}, r"P\.npz: left: shape \[6, 777, 3\]"),
        (lambda t: {"left": t["left"][:0]}, r"P\.npz: left: shape \[0, 778, 3\]"),
        (lambda t: {"right": with_value(t["right"], np.nan, 3, 7, 1)}, r"P\.npz: right: sample 3 is NaN"),
        (lambda t: {"right": t["right"].astype(str)}, r"P\.npz: right: holds <U"),
        (lambda t: {"left": 1000 * t["left"]}, r"P\.npz: left: its hands are .* metres are wanted"),
        (
            lambda t: {"left": np.concatenate([t["left"][:4], 1000 * t["left"][4:]])},
            r"P\.npz: left: sample 4 .*, 2 such samples; metres",
        ),
        (lambda t: {"joints_left": np.zeros((6, 21, 3))}, r"P\.npz: array 'joints_right' is missing"),
        (lambda t: {"left_px": np.zeros((6, 21, 2))}, r"P\.npz: array 'right_px' is missing"),
        (lambda t: {"intrinsics": np.zeros((3, 3))}, r"P\.npz: intrinsics: sample 0 is no camera matrix"),
        (lambda t: {"intrinsics": np.diag([9e300, 9, 1.0])}, r"P\.npz: intrinsics: up to 9e\+300"),
        (lambda t: {"intrinsics": np.diag([3, 4, 1.0])}, r"P\.npz: intrinsics: a focal length of 3.5"),
        (lambda t: {f"{h}_px": t[h][..., :2] / 0.1 for h in t}, r"P\.npz: left_px: .* px"),
        (lambda t: {"image_id": np.array([1, 2, 3, 4, 5, 5])}, r"P\.npz: image_id: 5 stands twice"),
        (lambda t: {"image_id": np.arange(5)}, r"P\.npz: image_id: int64 of shape \[5\]"),
        (lambda t: {"image_id": np.arange(6, dtype=np.uint64) + 2**63}, r"P\.npz: image_id: sample 0"),
        (
            lambda t: {"intrinsics": np.diag([99, 99, 1.0]) + 9 * np.eye(3, k=-1) * [1, 0, 0]},
            "intrinsics: sample 0",
        ),
        (lambda t: {"intrinsics": np.zeros((5, 3, 3))}, r"P\.npz: intrinsics: shape \[5, 3, 3\]"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(prediction, change, message):
    with pytest.raises(InputError, match=message):
        check_arrays(spoiled(prediction, **change(prediction)), name="P.npz")


def test_large_numbers_are_joined_exactly(prediction):
    ids = 2**60 + np.arange(6)
    named = lambda ids: check_arrays(spoiled(prediction, image_id=ids), name="P.npz")
    joined = in_order_of(named(ids[::-1].astype(np.uint64)), named(ids))
    assert (joined.vertices[:, 0] == prediction["left"][::-1]).all() and (joined.image_id == ids).all()
    with pytest.raises(InputError, match="image_id"):
        in_order_of(named(ids.astype(np.uint64) + 1), named(ids))


def test_an_array_file_and_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "o.npz", left=np.array([{}], dtype=object), right=np.zeros(3))
    for name in ("a.npy", "o.npz"):
        with pytest.raises(InputError, match=name):
            read_hand_file(tmp_path / name)
    with pytest.raises(InputError, match=r"not an \.npz"):
        read_hand_file(tmp_path)


def test_optional_arrays_are_read_and_others_named(prediction, tmp_path):
    more = {"joints_left": np.ones((6, 21, 3)), "joints_right": np.zeros((6, 21, 3)), "names": np.arange(6)}
    np.savez(tmp_path / "p.npz", **prediction, **more, intrinsics=np.diag([99, 99, 1.0]))
    file = read_hand_file(tmp_path / "p.npz")
    assert len(file) == 6 and file.intrinsics.shape == (6, 3, 3) and file.ignored == ("names",)
    assert (file.vertices[:, 1] == prediction["right"]).all() and (file.joints[:, 0] == 1).all()
    assert file.pixels is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_or_a_short_file_is_refused(save, prediction, tmp_path):
    path = tmp_path / "p.npz"
    save(path, **prediction)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    for damaged in (bytes(content), bytes(content[:-3000])):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"p\.npz: not an \.npz of plain arrays"):
            read_hand_file(path)


def test_a_camera_that_is_the_same_in_all_samples_may_be_compressed(prediction, tmp_path):
    many = {h: np.tile(prediction[h], (400, 1, 1)) for h in prediction}
    camera = np.tile(np.array([[800.0, 0, 167], [0, 820, 256], [0, 0, 1]]), (2400, 1, 1))
    np.savez_compressed(tmp_path / "t.npz", **many, intrinsics=camera)
    assert len(read_hand_file(tmp_path / "t.npz").intrinsics) == 2400


def crafted(header, content=b"", compress=zipfile.ZIP_STORED):
    """An .npz whose one member has this header."""
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        archive.writestr("left.npy", member)
    return file.getvalue()


HEADER = "{'descr': '<f4', 'fortran_order': %s, 'shape': %s, }\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"left,right\n1,2\n",
        b"PK\x03\x04broken",
        b"\x93NUMPY",
        crafted((HEADER % (False, "(-1, 778, 3)")).encode()),
        crafted((HEADER % (False, f"({2**70},)")).encode(), bytes(64)),
        crafted((HEADER % (True, f"({2**34}, 778, 3)")).encode(), bytes(64)),
        crafted(b"{'descr': ((((\n"),
        crafted(b"\x00" * 40),
        crafted(
            (HEADER % (False, "(25000000,)")).encode(), bytes(100_000_000), zipfile.ZIP_DEFLATED
        ),  # a bomb
        crafted((HEADER % (False, "(4,)")).encode(), bytes(16), zipfile.ZIP_LZMA)[:-40],
    ],
)
def test_files_of_another_kind_and_headers_that_promise_too_much_are_refused(content, tmp_path):
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"p\.npz: not an \.npz of plain arrays"):
        read_hand_file(path)
