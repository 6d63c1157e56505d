"""A trained model on any photograph: overlay, skeleton, meshes and joints.

Meshes (OBJ, GLB) are in metres with x right, y up and z towards the viewer, as viewers and importers
expect: the camera's axes (x right, y down, z forward) turned by half a turn about x. The joints (JSON) keep
the camera's axes; the file says both. In both, the right hand's root (middle MCP) is the origin.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import trimesh
from torch import Tensor

from handdgcl import __version__
from handdgcl.data.crop import warp_crop
from handdgcl.evaluate import Trained
from handdgcl.files import InputError, write_file, write_json
from handdgcl.hands.camera import relative_root, square_crop, weak_perspective
from handdgcl.hands.topology import HANDS, JOINTS, ROOT_JOINT
from handdgcl.report.doubts import Doubts
from handdgcl.report.photograph import Box, read_image
from handdgcl.report.pictures import draw_hands, draw_skeletons

CAMERA_TO_VIEWER = np.array([1.0, -1.0, -1.0])
FORMATS = ("obj", "glb")
OPACITY = 0.75
LEAST_BOX_PX = 4  # smaller ones are shares of the image
BLACK = 4  # mean grey level below which nothing is seen: colours of 10 bits written into 16, for example
WIDEST = 10  # a box may be, in shorter sides of the image


class Reconstruction(NamedTuple):
    """Both hands of one image.

    Attributes:
        vertices: `[H, V, 3]` metres, camera axes, the right root at the origin.
        points_2d: `[H, V, 2]` px of the image.
        scale: `[H]` metres, the middle metacarpal.
        camera: `[H, 3]` weak perspective of the crop: px of the crop per metacarpal, two offsets in its px.
        crop: `[2, 3]` px of the image to px of the crop.
        feature: `[C]`, the encoder's.
    """

    vertices: Tensor
    points_2d: Tensor
    scale: Tensor
    camera: Tensor
    crop: np.ndarray
    feature: Tensor


def crop_map(shape: tuple[int, ...], box: Box | None, *, fill: float, size: int) -> np.ndarray:
    """The map from image px to crop px, `[2, 3]`: a square around the box, as in training.

    Args:
        shape: of the image, (height, width, ...).
        box: around both hands; takes the share `fill` of the crop. None: the image's whole centre square.
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
    text = f"--box {','.join(map(str, box))}"
    if not (min(box.width, box.height) >= LEAST_BOX_PX and max(box.width, box.height) <= WIDEST * side):
        raise InputError(
            f"{text}: width and height must be at least {LEAST_BOX_PX} px and at most {WIDEST} times the "
            f"image's {side} px (x,y,w,h in px)"
        )
    if not (-box.width < box.x < width and -box.height < box.y < height):
        raise InputError(f"{text}: outside the image of {width} x {height} px")
    corners = np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]])
    return square_crop(corners, fill=fill, size=size)


@torch.inference_mode()
def reconstruct(image: np.ndarray, trained: Trained, *, box: Box | None) -> Reconstruction:
    """Both hands of one image `[height, width, 3]` uint8, RGB.

    Raises:
        InputError: the box cannot be used, the crop is black, or the model's output is not finite.
    """
    data = trained.config.data
    crop = crop_map(image.shape, box, fill=data.fill, size=data.image_size)
    pixels = torch.as_tensor(warp_crop(image, crop, size=data.image_size)).permute(2, 0, 1)
    if pixels.float().mean() < max(BLACK, data.min_brightness):  # training saw none so dark
        raise InputError(
            "the picture is nearly black where hands are looked for; give 8 bits a colour, or --box"
        )
    feature = trained.network.encoder(pixels[None])[0]
    output = trained.network(pixels[None])
    if output.joints is not None:
        raise InputError(
            f"{trained.info['row']!r} says joints alone; use a checkpoint of a row that makes meshes"
        )
    vertices = output.metric_vertices()[0]
    if not vertices.isfinite().all() or not output.camera.isfinite().all():
        raise InputError("the model's output is not finite; use a checkpoint of a training that converged")
    points = weak_perspective(output.camera, output.vertices)[0]
    in_image = (points - torch.as_tensor(crop[:, 2])) / crop[0, 0]
    return Reconstruction(vertices, in_image, output.scale[0], output.camera[0], crop, feature)


def predict_image(
    path: Path,
    trained: Trained,
    *,
    box: Box | None,
    out: Path,
    checkpoint: str = "",
    doubts: Doubts | None = None,
) -> tuple[list[Path], list[str]]:
    """Reconstruct both hands of one photograph.

    Writes to `out`, replacing what is there: `<name>_overlay.png`, `<name>_skeleton.png` (on the original
    image), `<name>_left.obj`, `.glb`, `<name>_right…`, `<name>_both.glb`, `<name>_joints.json`.

    Args:
        path: the image file.
        trained: of `load_model`.
        box: around both hands, see `crop_map`.
        out: folder, made where missing.
        checkpoint: the model's name in the JSON.
        doubts: of a shipped model.

    Returns:
        the files written, and what there is to doubt of this picture, in words.

    Raises:
        InputError: the image, the box, the checkpoint or the folder cannot be used.
    """
    path, hands = Path(path), trained.hands
    image = read_image(path)
    found = reconstruct(image, trained, box=box)
    joints, joints_px = (hands.joints(points[None])[0] for points in (found.vertices, found.points_2d))
    pictures = {
        "overlay.png": draw_hands(image, found.points_2d, found.vertices, hands.faces, opacity=OPACITY),
        "skeleton.png": draw_skeletons(image, joints_px),
    }
    files = {
        name: cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        for name, picture in pictures.items()
    }
    files |= mesh_files(found.vertices.numpy(), hands.faces.numpy())
    written = [Path(out) / f"{path.stem}_{name}" for name in (*files, "joints.json")]
    for target, content in zip(written, files.values(), strict=False):
        write_file(target, content)
    nothing = {"distance_from_training": None, "presence": None}
    facts, words = doubts.of(found.feature) if doubts else (nothing, [])
    about = {
        "image": path.name,
        "image_size": [image.shape[1], image.shape[0]],
        "crop": found.crop.tolist(),
        "crop_size": trained.config.data.image_size,
        "checkpoint": checkpoint,
        "handdgcl": __version__,
    }
    write_json(written[-1], about | facts | joints_json(joints, joints_px, found.scale, found.camera))
    return written, words


def mesh_files(vertices: np.ndarray, faces: np.ndarray) -> dict[str, bytes]:
    """left.obj, left.glb, right.obj, right.glb, both.glb; both hands keep their relative place.

    Args:
        vertices: `[H, V, 3]` metres, camera axes.
        faces: `[H, F, 3]`, outward orientation.
    """
    files, both = {}, trimesh.Scene()
    for hand, name in enumerate(HANDS):
        mesh = trimesh.Trimesh(vertices[hand] * CAMERA_TO_VIEWER, faces[hand], process=False)
        for kind in FORMATS:
            content = mesh.export(file_type=kind)
            files[f"{name}.{kind}"] = content.encode() if isinstance(content, str) else content
        both.add_geometry(mesh, node_name=name, geom_name=name)
    return files | {"both.glb": both.export(file_type="glb")}


def joints_json(joints: Tensor, joints_px: Tensor, scale: Tensor, camera: Tensor) -> dict:
    """What the JSON says of both hands.

    Args:
        joints: `[H, J, 3]` metres, camera axes, origin at the right root.
        joints_px: `[H, J, 2]` px of the original image, pixel centres at +0.5.
        scale: `[H]` metres, the estimated middle metacarpal.
        camera: `[H, 3]`, weak perspective of the crop.
    """
    columns = zip(HANDS, *(x.tolist() for x in (joints, joints_px, scale, camera)), strict=True)
    return {
        "unit": "m",
        "axes": "camera: x right, y down, z forward",
        "mesh_axes": "x right, y up, z towards the viewer: y and z of the joints with the other sign",
        "camera": "weak perspective of the crop: px per middle metacarpal, x and y offset in px",
        "origin": f"right hand's {JOINTS[ROOT_JOINT]}",
        "root": JOINTS[ROOT_JOINT],
        "names": list(JOINTS),
        "relative_root": relative_root(joints[None])[0].tolist(),
        "hands": {
            hand: {"joints": m, "joints_px": px, "scale": s, "camera": c} for hand, m, px, s, c in columns
        },
    }
