"""Parameters: what is out of range, doubled or no YAML is named, never taken."""

import re

import pytest
import yaml

from handdgcl.config import load_config, to_dict
from handdgcl.files import InputError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("contrast.tau", float("inf")),
        ("contrast.tau", float("nan")),
        ("train.lr", float("inf")),
        ("loss.cross", float("nan")),
        ("loss.cross", float("-inf")),
        ("loss.contrast", float("nan")),
        ("disturb", {"noise": float("inf")}),
        ("seeds", []),
        ("seeds", [1, 2, 1]),
        ("seeds", [-1]),
        ("added", [2**31]),  # no seed of the run
        ("added", [0, 1, 2]),  # all of them
        ("controls", ["a", "a"]),
        ("profile", "../x"),
        ("profile", ""),
        ("reports", "."),
        ("reports", "/tmp/x"),
        ("reports", "reports/../.."),
        ("unet.keep", [0.0]),
        ("unet.keep", []),
        ("encoder.widths", []),
        ("encoder.depths", [1]),
        ("encoder.widths", [8, 16, 32, 2**20]),
        ("graph.nodes", []),
        ("graph.features", 2**40),
        ("data.image_size", 7),
        ("data.image_size", 2**20),
        ("data.fill", 0.0),
        ("augment.scale", 1.0),
        ("generate.seed", -1),
        ("graph.nodes", [63, 21]),
        ("graph.eigenvectors", 63),
        ("data.sauce", "open"),
        ("train", None),
    ],
)
def test_what_is_out_of_range_is_named(tiny_config, tmp_path, key, value):
    raw, path = to_dict(tiny_config), tmp_path / "params.yaml"
    section, _, name = key.partition(".")
    if name:
        raw[section][name] = value
    else:
        raw[section] = value
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InputError, match=rf"params\.yaml: .*{re.escape(name or section)}"):
        load_config(path)


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-05", "0.00001", "+1e-5"])
def test_a_number_may_be_written_in_any_usual_way(tiny_config, tmp_path, text):
    path, raw = tmp_path / "params.yaml", to_dict(tiny_config)
    raw["train"]["lr"] = "here"
    path.write_text(yaml.safe_dump(raw).replace("lr: here", f"lr: {text}"))
    assert load_config(path).train.lr == 1e-5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seeds: [0]\nseeds: [1]\n", "'seeds' stands twice, line 1"),
        (b"a: &a [1]\nb: *a\n", "an alias, line 2"),
        (b"a: \xff\n", "not YAML"),
        (b"[" * 5000, "not YAML"),
        (b"a: [", "not YAML"),
        (b"", "params.yaml: "),
        (None, "params.yaml: cannot be read"),  # a folder
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)):
        load_config(path)
