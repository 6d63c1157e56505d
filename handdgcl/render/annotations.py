"""The annotation files of a rendered data set, like InterHand2.6M's (Moon et al. 2020; fits: Moon 2023)."""

import numpy as np

from handdgcl.hands.topology import HANDS, INTERHAND_ORDER, LEFT, RIGHT
from handdgcl.render.pairs import Pair
from handdgcl.render.scene import HAND_TYPES, Camera, Frame

_MISSING_MM = 1.0  # the data set's coordinates of a joint that is not there


def image_records(frame: Frame, camera: Camera, joints: np.ndarray) -> tuple[dict, dict]:
    """The records of an image and of its annotation, but for their ids."""
    pixels = camera.project(joints[list(frame.shown)].reshape(-1, 3))[0]
    low = np.clip(pixels.min(0) - 10, 0, None)
    high = np.minimum(pixels.max(0) + 10, [camera.width, camera.height])
    sequence = f"{frame.capture:04d}_{HAND_TYPES[frame.shown]}"
    image = {
        "file_name": f"Capture{frame.capture}/{sequence}/cam{camera.name}/image{frame.index:05d}.jpg",
        "width": camera.width,
        "height": camera.height,
        "capture": frame.capture,
        "subject": frame.subject,
        "seq_name": sequence,
        "camera": camera.name,
        "frame_idx": frame.index,
    }
    annotation = {
        "bbox": [*low.round(3).tolist(), *(high - low).round(3).tolist()],
        "joint_valid": [[int(h in frame.shown)] for h in (RIGHT, LEFT) for _ in INTERHAND_ORDER],
        "hand_type": HAND_TYPES[frame.shown],
        "hand_type_valid": 1,
    }
    return image, annotation


def camera_record(cameras: list[Camera]) -> dict:
    """One capture's entry of the camera file."""
    fields = {"campos": "position", "camrot": "rotation", "focal": "focal", "princpt": "principal"}
    return {key: {c.name: getattr(c, field).tolist() for c in cameras} for key, field in fields.items()}


def joint_record(frame: Frame, joints: np.ndarray) -> dict:
    """One frame's entry of the joint file, from joints `[H, J, 3]` mm in the data set's order."""
    world = [joints[h] if h in frame.shown else np.full_like(joints[h], _MISSING_MM) for h in (RIGHT, LEFT)]
    return {
        "world_coord": np.concatenate(world).round(4).tolist(),
        "joint_valid": [[h in frame.shown] for h in (RIGHT, LEFT) for _ in INTERHAND_ORDER],
        "hand_type": HAND_TYPES[frame.shown],
        "hand_type_valid": True,
    }


def mano_record(frame: Frame, pair: Pair) -> dict:
    """One frame's entry of the file of MANO fits, metres; a hand that is not shown is None."""
    fields = {"pose": pair.pose, "shape": pair.shape, "trans": pair.translation}
    fit = lambda h: {key: value[h].tolist() for key, value in fields.items()}
    return {hand: fit(h) if h in frame.shown else None for h, hand in enumerate(HANDS)}


def annotation_files(records: list[dict], seed: int) -> dict[str, dict]:
    """The four annotation files of one split."""
    cameras, joints, mano = {}, {}, {}
    for record in records:
        capture, index = str(record["frame"].capture), str(record["frame"].index)
        cameras[capture] = record["cameras"]
        joints.setdefault(capture, {})[index] = record["joints"]
        mano.setdefault(capture, {})[index] = record["mano"]
    both = [pair for record in records for pair in record["images"]]
    images = [{"id": i, **image} for i, (image, _) in enumerate(both)]
    # as in the original, the two lists need not run in the same order
    order = np.random.default_rng(seed).permutation(len(both)).tolist()
    annotations = [{"id": k, "image_id": i, **both[i][1]} for k, i in enumerate(order)]
    data = {"images": images, "annotations": annotations}
    return {"data": data, "camera": cameras, "joint_3d": joints, "MANO_NeuralAnnot": mano}
