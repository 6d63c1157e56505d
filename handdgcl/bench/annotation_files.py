"""Random annotation files in InterHand2.6M's format (Moon et al. 2020, 2022), of any size, as a stream."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from handdgcl.data.annotations import annotation_path
from handdgcl.hands.topology import HANDS, JOINT_COUNT, POSE_COUNT, SHAPE_COUNT

TRAIN_IMAGES = 1_361_062  # InterHand2.6M v1.0, 5 fps, train
CAPTURES, CAMERAS = 26, 80
SEQUENCE_FRAMES = 100
# A cycle of sequences, half of them interacting, as in the data set.
SEQUENCES = (("interacting", "dh_touchROM"), ("right", "fist"), ("interacting", "pray"), ("left", "fist"))
VALID_SHARE, FITTED_SHARE = 0.98, 0.9
_VARIETY = 1024  # different boxes and masks
_SIZES = ((512, 334), (334, 512))


def write_annotations(folder: Path, split: str, images: int, *, seed: int = 0) -> int:
    """data.json, camera.json and MANO_NeuralAnnot.json of a split: every camera's view of every frame.

    Args:
        folder: takes `annotations/{split}`.
        split: train, val or test.
        images: how many, at least one.
        seed: of all that is random.

    Returns:
        bytes written.
    """
    random = np.random.default_rng(seed)
    contents = {
        "data": _data(images, random),
        "camera": [json.dumps({str(capture): _cameras(random) for capture in range(CAPTURES)})],
        "MANO_NeuralAnnot": [json.dumps(_fits(-(-images // CAMERAS), random))],
    }
    size = 0
    for kind, texts in contents.items():
        path = annotation_path(folder, split, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="ascii") as file:
            size += sum(map(file.write, texts))
    return size


def _sequence(frame: int) -> tuple[int, str, str]:
    """Capture, hand type and sequence name of a frame."""
    number = frame // SEQUENCE_FRAMES
    hand_type, name = SEQUENCES[number % len(SEQUENCES)]
    return number % CAPTURES, hand_type, f"{number:04d}_{name}"


def _data(images: int, random: np.random.Generator) -> Iterator[str]:
    """Images in one order, annotations in another; their ids join them."""
    boxes = [json.dumps(box) for box in random.uniform(0, 300, (_VARIETY, 4)).tolist()]
    masks = [json.dumps(mask) for mask in random.integers(0, 2, (_VARIETY, 2 * JOINT_COUNT, 1)).tolist()]
    valid = (random.random(images) < VALID_SHARE).astype(int).tolist()
    of_image = random.integers(_VARIETY, size=images).tolist()

    def annotation(i: int) -> str:
        k = of_image[i]
        return (
            f'{{"id": {i}, "image_id": {i}, "bbox": {boxes[k]}, "joint_valid": {masks[k]}, '
            f'"hand_type": "{_sequence(i // CAMERAS)[1]}", "hand_type_valid": {valid[i]}}}'
        )

    yield '{"images": ['
    yield from _listed(_image, range(images), "write images")
    yield '], "annotations": ['
    yield from _listed(annotation, random.permutation(images).tolist(), "write annotations")
    yield "]}"


def _listed(record, numbers: Iterable[int], title: str) -> Iterator[str]:
    """JSON list items, with commas between them."""
    for place, number in enumerate(tqdm(numbers, desc=title, leave=False)):
        yield (", " if place else "") + record(number)


def _image(i: int) -> str:
    frame, view = divmod(i, CAMERAS)
    capture, _, sequence = _sequence(frame)
    width, height = _SIZES[view % len(_SIZES)]
    camera = _camera_name(view)
    return (
        f'{{"id": {i}, "file_name": "Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg", '
        f'"width": {width}, "height": {height}, "capture": {capture}, "subject": {capture}, '
        f'"seq_name": "{sequence}", "camera": "{camera}", "frame_idx": {frame}}}'
    )


def _camera_name(view: int) -> str:
    return str(400002 + view)


def _cameras(random: np.random.Generator) -> dict:
    """One capture's entry of camera.json."""
    values = {
        "campos": random.normal(0, 1000, (CAMERAS, 3)),
        "camrot": Rotation.random(CAMERAS, rng=random).as_matrix(),
        "focal": random.uniform(1200, 1300, (CAMERAS, 2)),
        "princpt": random.uniform(150, 260, (CAMERAS, 2)),
    }
    names = [_camera_name(view) for view in range(CAMERAS)]
    return {key: dict(zip(names, value.tolist(), strict=True)) for key, value in values.items()}


def _fits(frames: int, random: np.random.Generator) -> dict:
    """MANO_NeuralAnnot.json; a hand that is not shown or has no fit is null."""
    captures: dict[str, dict] = {}
    sizes = {"pose": POSE_COUNT, "shape": SHAPE_COUNT, "trans": 3}
    for frame in range(frames):
        capture, hand_type, _ = _sequence(frame)
        shown = [hand for hand in HANDS if hand_type in (hand, "interacting")]
        fitted = [hand for hand in shown if random.random() < FITTED_SHARE]
        captures.setdefault(str(capture), {})[str(frame)] = dict.fromkeys(HANDS) | {
            hand: {key: random.normal(0, 0.3, size).tolist() for key, size in sizes.items()}
            for hand in fitted
        }
    return captures


def repeat_images(dataset: Path, out: Path, split: str, copies: int) -> Path:
    """A data set with every image of a split so many times, each with an id of its own; links to the rest.

    Args:
        dataset: in InterHand2.6M's layout.
        out: folder to make.
        split: train, val or test.
        copies: at least one.

    Returns:
        `out`.
    """
    target = annotation_path(out, split, "data")
    target.parent.mkdir(parents=True)
    (out / "images").symlink_to((dataset / "images").resolve())
    for kind in ("camera", "MANO_NeuralAnnot"):
        annotation_path(out, split, kind).symlink_to(annotation_path(dataset, split, kind).resolve())
    data = json.loads(annotation_path(dataset, split, "data").read_text())
    span = 1 + max(image["id"] for image in data["images"])
    repeated = {
        part: [
            record | {key: record[key] + copy * span for key in keys}
            for copy in range(copies)
            for record in data[part]
        ]
        for part, keys in (("images", ("id",)), ("annotations", ("id", "image_id")))
    }
    target.write_text(json.dumps(repeated))
    return out
