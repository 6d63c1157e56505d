"""Photographs as people have them: found, opened within limits, turned upright, on 8 bits, opaque."""

import json
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from handdgcl.files import InputError, read_json

MOST_PIXELS = 10**8  # of an image; its header says how many before it is decoded
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")  # of a folder's images
BEHIND = 255  # grey level behind what is transparent, as viewers show it
HEIF = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")  # brands in a file's first bytes
log = logging.getLogger(__name__)
_DEEP = ("I", "I;16", "I;16B", "I;16L", "F")  # modes of more than 8 bits


class Box(NamedTuple):
    """A box in px of the image: its left upper corner, width and height."""

    x: float
    y: float
    width: float
    height: float


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as named, and of a folder all images in it, by name.

    Raises:
        InputError: a folder without images, or two images whose results would have one name.
    """
    found = []
    for path in paths:
        try:
            everything = sorted(path.iterdir()) if path.is_dir() else [path]
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); name an image or folder") from error
        ours = lambda file: file.name.endswith(("_overlay.png", "_skeleton.png"))  # of an earlier call
        inside = [f for f in everything if f == path or (f.suffix.lower() in SUFFIXES and not ours(f))]
        if not inside:
            raise InputError(f"{path}: no image in this folder ({', '.join(SUFFIXES)})")
        if left_out := [file.name for file in everything if file not in inside]:
            log.warning("%s: left out, no images: %s", path, ", ".join(left_out))
        found += inside
    names = [path.stem for path in found]
    if twice := [path for path in found if names.count(path.stem) > 1]:
        raise InputError(
            f"{twice[0]} and {twice[1]}: results of one name; give them to separate --out folders"
        )
    return found


def read_boxes(path: Path) -> dict[str, Box]:
    """A file of boxes, {"image.jpg": [x, y, width, height], …} in px, by the image's file name.

    Raises:
        InputError: it is missing or not of that form.
    """
    boxes, form = {}, '{"image.jpg": [x, y, width, height], ...} in px is wanted, each image once'
    for name, values in read_json(path, remedy=form, missing=form).items():
        numbers = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
        if not numbers or len(values) != 4:
            raise InputError(f"{path}: {name}: {json.dumps(values)[:60]}; {form}")
        boxes[name] = Box(*values)
    return boxes


def read_image(path: Path) -> np.ndarray:
    """An image file as `[height, width, 3]` uint8, RGB, turned as its EXIF data says.

    What is transparent is white. More than 8 bits are divided by what the largest value needs: cameras write
    10 or 12 bits into 16.

    Raises:
        InputError: it is missing, no image, damaged or larger than `MOST_PIXELS`.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a file; name an image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise InputError(
                        f"{path}: {image.width} x {image.height} px, more than MOST_PIXELS = {MOST_PIXELS}; "
                        "make it smaller"
                    )
                return _upright_rgb(image)
    except FileNotFoundError:
        raise InputError(f"{path}: cannot be read (no such file); name an image file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: {_kind(path)}") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: more pixels than MOST_PIXELS = {MOST_PIXELS}; make it smaller") from error
    except (OSError, SyntaxError, ArithmeticError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not decoded ({reason}); give a whole JPEG or PNG file") from error


def _kind(path: Path) -> str:
    """What a file is that is no image Pillow knows, and the remedy."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF:
        return "a HEIC photograph, which is not read here; convert it to JPEG first"
    if head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3" or head[8:12] == b"AVI ":  # MP4, MOV; Matroska
        return "a video; give single frames as JPEG or PNG"
    return "not an image that can be decoded; give a JPEG or PNG"


def _upright_rgb(image: Image.Image) -> np.ndarray:
    """Decoded pixels of any mode."""
    image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP:
        values = np.asarray(image).astype(np.float64).clip(0)
        bits = max(int(values.max()).bit_length(), 8)
        return np.repeat((values / 2 ** (bits - 8)).astype(np.uint8)[..., None], 3, -1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (BEHIND,) * 3), image)
    return np.array(image.convert("RGB"))
