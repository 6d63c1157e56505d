"""A trained model on any photograph: overlay, meshes and joints."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from handdgcl.atomic import replacing
from handdgcl.data.camera import square_crop
from handdgcl.data.warp import warp_crop
from handdgcl.errors import InputError
from handdgcl.evaluate import Trained
from handdgcl.report.export import write_joints, write_meshes
from handdgcl.report.overlay import draw_hands, draw_skeletons, weak_perspective

OPACITY = 0.75
WIDEST = 10  # a box may be, in shorter sides of the image


class Box(NamedTuple):
    """A box in px of the image: its left upper corner, width and height."""

    x: float
    y: float
    width: float
    height: float


class Reconstruction(NamedTuple):
    """Both hands of one image.

    Attributes:
        vertices: `[H, V, 3]` metres, camera axes, the right root at the origin.
        points_2d: `[H, V, 2]` px of the image.
        scale: `[H]` metres, the middle metacarpal.
    """

    vertices: Tensor
    points_2d: Tensor
    scale: Tensor


def read_image(path: Path) -> np.ndarray:
    """An image file as `[height, width, 3]` uint8, RGB, turned as its EXIF data says.

    Raises:
        InputError: it is missing or does not decode.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name an image file") from error
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:
        raise InputError(f"{path}: not decoded ({error.err}); give a smaller JPEG or PNG") from error
    if image is None:
        raise InputError(f"{path}: not an image that can be decoded; give a JPEG or PNG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def crop_map(shape: tuple[int, ...], box: Box | None, *, fill: float, size: int) -> np.ndarray:
    """The map from image px to crop px, `[2, 3]`: a square around the box, as in training.

    Args:
        shape: of the image, (height, width, ...).
        box: around both hands; takes the share `fill` of the crop. None: the image's centre square,
            all of it.
        fill: the model's `data.fill`.
        size: side of the crop.

    Raises:
        InputError: the box has no area or lies outside the image.
    """
    height, width = shape[:2]
    side = min(height, width)
    if box is None:
        corners = np.array([[width - side, height - side], [width + side, height + side]]) / 2
        return square_crop(corners, fill=1.0, size=size)
    if not (box.width > 0 and box.height > 0 and max(box.width, box.height) <= WIDEST * side):
        raise InputError(
            f"--box {','.join(map(str, box))}: width and height must be positive and at most {WIDEST} times "
            f"the image's {side} px (x,y,w,h in px)"
        )
    if not (-box.width < box.x < width and -box.height < box.y < height):
        raise InputError(f"--box {','.join(map(str, box))}: outside the image of {width} x {height} px")
    corners = np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]])
    return square_crop(corners, fill=fill, size=size)


@torch.inference_mode()
def reconstruct(image: np.ndarray, trained: Trained, *, box: Box | None) -> Reconstruction:
    """Both hands of one image `[height, width, 3]` uint8, RGB.

    Raises:
        InputError: the box cannot be used, or the model's output is not finite.
    """
    data = trained.config.data
    crop = crop_map(image.shape, box, fill=data.fill, size=data.image_size)
    pixels = torch.as_tensor(warp_crop(image, crop, size=data.image_size)).permute(2, 0, 1)
    output = trained.network(pixels[None])
    vertices = output.metric_vertices()[0]
    if not vertices.isfinite().all() or not output.camera.isfinite().all():
        raise InputError("the model's output is not finite; use a checkpoint of a training that converged")
    points = (weak_perspective(output)[0] - torch.as_tensor(crop[:, 2])) / crop[0, 0]
    return Reconstruction(vertices, points, output.scale[0])


def predict_image(
    path: Path, trained: Trained, *, box: Box | None, out: Path, checkpoint: str = ""
) -> list[Path]:
    """Reconstruct both hands of one photograph.

    Writes to `out`, replacing what is there: `<name>_overlay.png`, `<name>_skeleton.png` (on the original
    image), `<name>_left.obj`, `.glb`, `<name>_right…`, `<name>_joints.json`.

    Args:
        path: the image file.
        trained: of `load_model`.
        box: around both hands, see `crop_map`.
        out: folder, made where missing.
        checkpoint: the model's name in the JSON.

    Returns:
        the files written.

    Raises:
        InputError: the image, the box, the checkpoint or the folder cannot be used.
    """
    path, hands = Path(path), trained.hands
    image = read_image(path)
    found = reconstruct(image, trained, box=box)
    joints, joints_px = (hands.joints(points[None])[0] for points in (found.vertices, found.points_2d))
    pictures = {
        "overlay": draw_hands(image, found.points_2d, found.vertices, hands.faces, opacity=OPACITY),
        "skeleton": draw_skeletons(image, joints_px),
    }
    stem = Path(out) / path.stem
    written = [_write_png(stem.with_name(f"{stem.name}_{name}.png"), p) for name, p in pictures.items()]
    written += write_meshes(found.vertices.numpy(), hands.faces.numpy(), stem)
    written.append(stem.with_name(f"{stem.name}_joints.json"))
    about = {"image": path.name, "checkpoint": checkpoint}
    arrays = {"joints": joints.numpy(), "joints_px": joints_px.numpy(), "scale": found.scale.numpy()}
    write_joints(written[-1], **arrays, about=about)
    return written


def _write_png(path: Path, picture: np.ndarray) -> Path:
    """RGB `[height, width, 3]` uint8 to a PNG, whole or not at all."""
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    with replacing(path) as temporary:
        temporary.write_bytes(content.tobytes())
    return path
