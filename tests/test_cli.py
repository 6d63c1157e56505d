import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from handdgcl.cli import SHIPPED, main


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


def test_bad_input_is_one_line_and_code_2(tmp_path, capsys):
    assert predict("a.jpg", "--checkpoint", tmp_path / "none.ckpt", "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("handdgcl: ") and "none.ckpt" in error


def test_images_of_one_name_are_not_written_over_each_other(tmp_path, capsys):
    images = ["a/hand.jpg", "b/hand.png"]
    assert predict(*images, "--checkpoint", "c", "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert all(image in error for image in images) and error.count("\n") == 1


def write_picture(path, size=(80, 60)):
    Image.new("RGB", size, (90, 60, 50)).save(path)


def test_a_bad_image_does_not_end_the_batch(train, tmp_path, capsys):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    for name in ("a.jpg", "c.png"):
        write_picture(folder / name)
    (folder / "b.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").touch()
    arguments = ["--checkpoint", train("baseline"), "--out", out]
    assert predict(folder, *arguments) == 1
    assert "b.jpg: not an image" in capsys.readouterr().err
    assert {path.name for path in out.glob("*.json")} == {"a_joints.json", "c_joints.json"}
    assert predict(folder / "b.jpg", *arguments) == 2
    assert predict(folder / "a.jpg", *arguments) == 0


def test_each_image_has_a_box_of_its_own(train, tmp_path, capsys):
    images, boxes = [tmp_path / name for name in ("a.png", "b.png")], tmp_path / "boxes.json"
    for image in images:
        write_picture(image)
    boxes.write_text(json.dumps({"a.png": [10, 20, 30, 20]}))
    arguments = [*images, "--checkpoint", train("baseline"), "--out", tmp_path / "out"]
    assert predict(*arguments, "--boxes", boxes, "--box", "0,0,80,60") == 0
    own, other = (json.loads((tmp_path / f"out/{name}_joints.json").read_text()) for name in "ab")
    middle = lambda found: [
        (0.5 * found["crop_size"] - t) / found["crop"][0][0] for t in np.array(found["crop"])[:, 2]
    ]
    assert middle(own) == pytest.approx([25, 30]) and middle(other) == pytest.approx([40, 30])
    for content, message in (
        ('{"c.png": [1, 2, 3, 4]}', "c.png: no such image"),
        ('{"a.png": [0.1, 0.2, 0.5, 0.6], "b.png": [0, 0, 0.5, 0.5]}', "in px"),
    ):
        boxes.write_text(content)
        assert predict(*arguments, "--boxes", boxes) == 2
        assert message in capsys.readouterr().err


def test_the_users_folder_may_be_meant_anywhere(train, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_picture(tmp_path / "a.png")
    arguments = ["--checkpoint", train("baseline"), "--out=~/out"]
    assert predict("~/a.png", *arguments) == 0 and (tmp_path / "out" / "a_joints.json").exists()
    write_picture(tmp_path / "out" / "b.png")
    assert predict("~/out", *arguments) == 0  # where pictures of its own lie
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {"a_joints.json", "b_joints.json"}


@pytest.mark.skipif(not SHIPPED.exists(), reason="the tables' stage has not run for this profile")
def test_without_a_checkpoint_the_shipped_model_is_used(tmp_path, capsys, caplog):
    write_picture(tmp_path / "a.png")  # of one colour
    assert predict(tmp_path / "a.png", "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out/a_joints.json").read_text())["distance_from_training"] > 1
    assert "unlike the training pictures" in caplog.text


def test_a_file_name_that_is_too_long_for_its_results_is_one_line(train, tmp_path, capsys):
    image = tmp_path / ("h" * 241 + ".png")
    write_picture(image)
    assert predict(image, "--checkpoint", train("baseline"), "--out", tmp_path / "o") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "name too long" in error


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,x", "1,2,3,4,5"])
def test_a_box_is_four_numbers(box, capsys):
    with pytest.raises(SystemExit) as stop:
        predict("a.jpg", "--checkpoint", "c", "--out", "o", "--box", box)
    assert stop.value.code == 2 and "four numbers" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    code = """
import contextlib, sys, handdgcl.cli
with contextlib.suppress(SystemExit):
    handdgcl.cli.main(["predict", "--help"])
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
