"""Hand model files: faithful licensed-style pickles are read, everything else is refused."""

import pickle
import pickletools
import re
import tomllib
from collections import OrderedDict
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from hand_files import OPEN_HAND, chumpy_array, licensed, open_hand, python2_object, scipy_csc, write_pickle
from scipy import sparse

from handdgcl.files import InputError
from handdgcl.hands.mano_files import read_model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "MANO_RIGHT.pkl"


def refusal(path, content=None):
    """The error of a file, of these bytes or of this pickled object where there are any."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write_pickle(path, content)
    with pytest.raises(InputError) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("hand", ["left", "right"])
def test_licensed_style_pickle_gives_the_same_dense_arrays(tmp_path, hand, protocol):
    model = open_hand(hand)
    read = read_model(write_pickle(tmp_path / f"MANO_{hand.upper()}.pkl", licensed(model), protocol))
    assert read.keys() == model.keys()
    for key, value in read.items():
        assert type(value) is np.ndarray and value.dtype == model[key].dtype
        np.testing.assert_array_equal(value, model[key], err_msg=key)


SPARSE = ("csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array")


@pytest.mark.parametrize(("protocol", "kind"), list(enumerate(SPARSE)))
def test_file_saved_again_by_current_python_without_chumpy(path, protocol, kind):
    model = open_hand()
    saved = {
        **model,
        "J_regressor": getattr(sparse, kind)(model["J_regressor"]),
        "weights": np.asfortranarray(model["weights"]),
        "hands_components": model["hands_components"].view(np.matrix),
        "hands_mean": model["hands_mean"].astype(">f8"),
        "bs_style": "lbs",
        "unused": [np.array([None, {}], object), np.float64(3.0)],
    }
    path.write_bytes(pickle.dumps(OrderedDict(saved), protocol=protocol))
    for key, value in read_model(path).items():
        np.testing.assert_array_equal(value, model[key], err_msg=key)


class Reduced:
    """Pickles as whatever call and state it is given."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


POINTERS = (1, (778, 3), np.dtype(object), False, b"A" * 8 * 778 * 3)
EMPTY_ARRAY = np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b")


@pytest.mark.parametrize(
    "value",
    [
        Reduced(*EMPTY_ARRAY, POINTERS),  # NumPy follows each of these addresses
        Reduced(np._core.multiarray.scalar, (np.dtype(object), b"A" * 8)),
        Reduced(*EMPTY_ARRAY, (1, (778, 3), np.dtype([("a", "f4"), ("b", "O")]), False, b"A" * 12)),
        Reduced(*EMPTY_ARRAY, (1, (2**40, 2**20), np.dtype("f4"), False, b"AAAA")),
        Reduced(
            *EMPTY_ARRAY,
            (1, (2, 2), Reduced(np.dtype, ("f4",), (3, b"<", None, None, None, -1, -1, 63)), False, [1]),
        ),
        [[0.0] * 3] * 778,
    ],
)
def test_arrays_that_bring_no_numbers_are_refused(path, value):
    assert "v_template" in refusal(path, pickle.dumps({**open_hand(), "v_template": value}))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02K\x01r\xff\xff\xff\x7f.",  # a memo of two thousand million places
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0f.",  # more bytes than any file
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x0f.",
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x0f.",
        b"(lp0\n" + b"(g0\ng0\nlp0\n" * 60 + b".",
        b"<!DOCTYPE html><html>login</html>",
        b"I7\n.",
        b"\x80\x02Q.",
    ],
)
def test_other_files_and_instructions_that_ask_for_memory_are_refused(path, content):
    assert "not a hand model file" in refusal(path, content)


def test_a_file_larger_than_any_hand_is_not_read(path):
    with path.open("wb") as file:
        file.truncate(2**40)  # of holes
    assert "MOST_BYTES" in refusal(path)


@pytest.mark.parametrize("protocol", [0, 2])
def test_the_pickles_of_these_tests_are_python_2s(tmp_path, protocol):
    data = write_pickle(tmp_path / "a.pkl", licensed(open_hand()), protocol).read_bytes()
    newest = 0 if not data.startswith(b"\x80") else max(op.proto for op, _, _ in pickletools.genops(data))
    assert newest == protocol
    names = {b" ".join(name).decode() for name in re.findall(rb"c([\w.]+)\n(\w+)\n", data)}
    python2 = {"numpy.core.multiarray _reconstruct", "scipy.sparse.csc csc_matrix", "chumpy.ch Ch"}
    python2 |= {"chumpy.reordering Select", "__builtin__ set", "numpy ndarray", "numpy dtype"}
    python2 |= set() if protocol else {"copy_reg _reconstructor", "__builtin__ object"}
    assert names == python2


@pytest.mark.parametrize("module, name", [("os", "system"), ("posix", "system"), ("__builtin__", "eval")])
@pytest.mark.parametrize("inside", [False, True])
def test_code_in_a_pickle_is_refused_by_name_and_does_not_run(tmp_path, path, module, name, inside):
    mark = tmp_path / "ran"
    command = f"touch {mark}" if name == "system" else f"open({str(mark)!r},'w')"
    call = f"c{module}\n{name}\n(".encode() + b"S" + repr(command).encode() + b"\ntR"
    body = b"(dS'v_template'\n" + call + b"s." if inside else call + b"."
    assert f"{module}.{name}" in refusal(path, body)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["numpy.load", "chumpy.ch_ops.add", "numpy.core.multiarray.fromfile"])
def test_unknown_class_among_the_arrays_is_refused_by_name(path, name):
    raw = {**licensed(open_hand()), "J": python2_object(*name.rsplit(".", 1), {})}
    assert name in refusal(path, raw)


def test_attributes_of_permitted_classes_are_out_of_reach(path):
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."  # protocol 4 resolves such names
    assert "numpy.ndarray.tofile" in refusal(path, dotted)


@pytest.mark.parametrize("suffix, place", [("pkl", "mano.is.tue.mpg.de"), ("npz", "install")])
def test_missing_file_says_where_to_get_it(tmp_path, suffix, place):
    message = refusal(tmp_path / f"MANO_LEFT.{suffix}")
    assert place in message and "no such" in message


def test_each_hand_in_the_others_place_is_refused(tmp_path):
    for hand, other in (("left", "RIGHT"), ("right", "LEFT")):
        path = write_pickle(tmp_path / f"MANO_{other}.pkl", licensed(open_hand(hand)))
        assert f"holds a {hand} hand" in refusal(path)
        unnamed = write_pickle(tmp_path / "hand.pkl", licensed(open_hand(hand)))
        assert read_model(unnamed)["f"].shape == (1538, 3)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("suffix", ["pkl", "npz"])
def test_truncated_file(tmp_path, suffix, share):
    path = tmp_path / f"MANO_RIGHT.{suffix}"
    if suffix == "pkl":
        write_pickle(path, licensed(open_hand()))
    else:
        np.savez(path, **open_hand())
    data = path.read_bytes()
    assert "truncated" in refusal(path, data[: int(share * len(data))])


def test_body_model_is_named(path):
    raw = {**licensed(open_hand()), "v_template": np.zeros((6890, 3)), "hands_meanl": np.zeros(45)}
    assert "SMPL-H" in refusal(path, raw)
    raw["v_template"] = chumpy_array(raw["v_template"])
    assert "SMPL-H" in refusal(path, raw)


@pytest.mark.parametrize("key", sorted(open_hand()))
def test_missing_key_and_wrong_shape_name_the_key(path, key):
    raw = licensed(open_hand())
    assert f"no '{key}'" in refusal(path, {k: v for k, v in raw.items() if k != key})
    assert f"'{key}' has shape [7, 5]" in refusal(path, {**raw, key: np.zeros((7, 5))})


def test_values_that_are_no_hand(path):
    raw = licensed(open_hand())
    broken = scipy_csc(np.eye(16, 778))
    broken.indices = broken.indices + 1000
    endless = chumpy_array(np.zeros(3))
    endless.x = endless
    for key, value in (
        ("weights", np.full((778, 16), np.nan)),
        ("f", raw["f"] + 1),
        ("J_regressor", broken),
        ("shapedirs", endless),
        *(("v_template", scale * raw["v_template"]) for scale in (1000, 100, 0.01)),
    ):
        assert f"'{key}'" in refusal(path, {**raw, key: value})


@pytest.mark.parametrize(("joint", "parent"), [(2, 0), (5, 16), (15, -3)])
def test_joints_in_another_order(path, joint, parent):
    raw = licensed(open_hand())
    raw["kintree_table"] = raw["kintree_table"].astype(np.int64)
    raw["kintree_table"][0, joint] = parent
    assert "'kintree_table'" in refusal(path, raw)


def test_other_arrays_in_the_open_hands_file_do_not_matter(tmp_path):
    path = tmp_path / "open_hand_right.npz"
    np.savez_compressed(path, **open_hand(), note=np.array([{}], object))
    assert read_model(path).keys() == open_hand().keys()


def test_open_hand_is_packaged_with_its_licence():
    files = {entry.name for entry in OPEN_HAND.iterdir() if entry.is_file()}
    assert files == {"open_hand_left.npz", "open_hand_right.npz", "PROVENANCE.md", "LICENSE"}
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["handdgcl.hands.open_hand"]
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)
