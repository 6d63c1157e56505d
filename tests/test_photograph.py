"""Photographs: turned, transparent, deep, huge, broken."""

import io
import resource

import numpy as np
import pytest
from PIL import Image

from handdgcl.files import InputError
from handdgcl.report.photograph import MOST_PIXELS, find_images, read_boxes, read_image

RED = np.zeros((40, 60, 3), np.uint8) + np.array([200, 30, 10], np.uint8)


def test_exif_turns_the_picture(tmp_path):
    picture = RED.copy()
    picture[:, 30:] = (0, 0, 255)  # blue on the right
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    found = read_image(tmp_path / "a.png")
    assert found.shape == (60, 40, 3) and (found[30:] == (0, 0, 255)).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_whatever_colour_it_hides(tmp_path, mode):
    picture = np.dstack([RED, np.full((40, 60), 255, np.uint8)])
    picture[:20, :, 3] = 0
    image = Image.fromarray(picture)
    image = image.quantize(8, method=Image.Quantize.FASTOCTREE) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert (found[:20] == 255).all() and (found[20:] < 255).any(-1).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_deep_grey_keeps_its_brightness(tmp_path, bits):
    values = np.linspace(0, 2**bits - 1, 60).round().astype(np.uint16)
    Image.fromarray(np.tile(values, (40, 1))).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert np.allclose(found[0, :, 0], np.linspace(0, 255, 60), atol=1) and (found == found[..., :1]).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif"])
def test_kinds_of_files(tmp_path, suffix):
    Image.fromarray(RED).save(tmp_path / f"a.{suffix}")
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - RED).max() < 12


def huge_png():
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "png")
    return file.getvalue()


def cut_jpeg():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(file, "jpeg")
    return file.getvalue()[:5000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (huge_png, f"MOST_PIXELS = {MOST_PIXELS}"),
        (cut_jpeg, "not decoded"),
        (lambda: b"not an image", "not an image"),
        (lambda: b"", "not an image"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(100), "HEIC"),
        (lambda: b"\0\0\0\x18ftypmp42" + bytes(100), "a video"),
        (lambda: b"\x1aE\xdf\xa3" + bytes(100), "a video"),
        (lambda: b"RIFF\0\0\0\0AVI " + bytes(100), "a video"),
        (lambda: b"RIFF\0\0\0\0WEBP" + bytes(100), "not an image|not decoded"),
    ],
)
def test_files_that_are_no_images_are_refused(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(content())
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**34, limit[1]))
    try:
        with pytest.raises(InputError, match=rf"a\.jpg: .*{message}"):
            read_image(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path, caplog):
    with pytest.raises(InputError, match=r"a\.jpg: cannot be read"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="no image in this folder"):
        find_images([tmp_path])
    for name in ("b.PNG", "a.jpg", "c.txt"):
        (tmp_path / name).touch()
    with caplog.at_level("WARNING"):
        assert [path.name for path in find_images([tmp_path])] == ["a.jpg", "b.PNG"]
    assert "left out, no images: c.txt" in caplog.text
    for read in (read_image, lambda path: find_images([path])):
        with pytest.raises(InputError, match=r"cannot be read|not decoded"):
            read(tmp_path / ("n" * 300))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a.jpg": [1, 2, 3, 4], "a.jpg": [0, 0, 9, 9]}', "'a.jpg' stands twice"),
        ('{"a.jpg": [1, 2, 3]}', r"a\.jpg: \[1, 2, 3\]"),
        ('{"a.jpg": "1,2,3,4"}', r"a\.jpg: "),
        ("[1, 2]", "a list"),
        ("{", "not JSON"),
        (None, "no such file"),
    ],
)
def test_boxes_of_another_form_are_refused(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"boxes\.json: .*{message}.*x, y, width, height"):
        read_boxes(path)
