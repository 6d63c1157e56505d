"""A small data set in InterHand2.6M's layout, written without the library: random images and poses."""

import json
from pathlib import Path

import numpy as np
import simplejpeg
from scipy.spatial.transform import Rotation

from handdgcl.config import Data

SUBJECT = {"train": 0, "val": 1, "test": 2}
WIDTH, HEIGHT = 334, 512
KINDS = ("data", "camera", "MANO_NeuralAnnot")


def write_layout(
    folder: Path, *, frames: int = 3, cameras: int = 2, splits=tuple(SUBJECT), seed: int = 0
) -> Path:
    """`frames * cameras` samples of two hands, about 1 m before the cameras, in each split."""
    random = np.random.default_rng(seed)
    for split in splits:
        records = make_records(random, frames, cameras, capture=SUBJECT[split])
        write_records(folder, split, records)
        for image in records["data"]["images"]:
            path = folder / "images" / split / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random_jpeg(random))
    return folder


def make_records(random: np.random.Generator, frames: int, cameras: int, *, capture: int) -> dict:
    """The contents of the three files; annotations stand in another order than images."""
    names = [f"40{1000 + camera}" for camera in range(cameras)]
    rotation = {name: Rotation.random(rng=random).as_matrix() for name in names}
    camera = {
        "campos": {n: (-rotation[n].T @ [0, 0, random.uniform(900, 1100)]).tolist() for n in names},
        "camrot": {n: rotation[n].tolist() for n in names},
        "focal": {n: random.uniform(900, 1100, 2).tolist() for n in names},
        "princpt": {n: (np.array([WIDTH, HEIGHT]) / 2 + random.normal(0, 20, 2)).tolist() for n in names},
    }
    images, annotations, fits = [], [], {}
    for frame in range(frames):
        number = 10 * frame + 7
        fits[str(number)] = {hand: make_fit(random) for hand in ("right", "left")}
        for name in names:
            identity = 1000 + int(random.integers(10)) + 10 * len(images)
            image = {"id": identity, "seq_name": "0001_pair", "camera": name, "frame_idx": number}
            image |= {"file_name": f"Capture{capture}/0001_pair/cam{name}/image{number}.jpg"}
            images.append(image | {"capture": capture, "subject": capture, "width": WIDTH, "height": HEIGHT})
            about = {"id": identity, "image_id": identity, "bbox": [0.0, 0.0, 300.0, 400.0]}
            annotations.append(about | {"hand_type": "interacting", "hand_type_valid": 1})
    annotations = [annotations[i] for i in random.permutation(len(annotations))]
    key = str(capture)
    return {
        "data": {"images": images, "annotations": annotations},
        "camera": {key: camera},
        "MANO_NeuralAnnot": {key: fits},
    }


def make_fit(random: np.random.Generator) -> dict:
    """Random parameters of one hand, near the origin of the world."""
    return {
        "pose": np.concatenate([random.normal(0, 1, 3), random.normal(0, 0.2, 45)]).tolist(),
        "shape": random.normal(0, 1, 10).tolist(),
        "trans": random.normal(0, 0.03, 3).tolist(),
    }


def random_jpeg(random: np.random.Generator, *, brightness: float = 128) -> bytes:
    """Blocks of random colours."""
    blocks = random.uniform(0, 2 * brightness, (HEIGHT // 16, WIDTH // 16 + 1, 3)).clip(0, 255)
    image = np.ascontiguousarray(blocks.astype(np.uint8).repeat(16, 0).repeat(16, 1)[:, :WIDTH])
    return simplejpeg.encode_jpeg(image, 90, "RGB")


def image_paths(folder: Path) -> list[Path]:
    return sorted((folder / "images").rglob("*.jpg"))


def write_records(folder: Path, split: str, records: dict) -> None:
    """Write the given annotation files of a split."""
    for kind, content in records.items():
        path = annotation_file(folder, split, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def annotation_file(folder: Path, split: str, kind: str) -> Path:
    """Where the data set keeps an annotation file."""
    return folder / f"annotations/{split}/InterHand2.6M_{split}_{kind}.json"


def read_records(folder: Path, split: str) -> dict:
    """The contents of the three files."""
    return {kind: json.loads(annotation_file(folder, split, kind).read_text()) for kind in KINDS}


def settings(**changes) -> Data:
    """How to prepare it."""
    values = {"image_size": 96, "fill": 0.8, "min_brightness": 10.0, "max_unreadable": 0.0, "workers": 0}
    values["max_dropped"] = values["max_dark"] = 1.0
    return Data(source="", hands="open", **{**values, **changes})
