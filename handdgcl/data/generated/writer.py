"""Writing the generated data set in InterHand2.6M's layout (Moon et al. 2020; MANO fits: Moon 2023).

Every random choice is seeded by what it belongs to (a subject, a capture or a frame), so the bytes do
not depend on the number of processes.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import msgspec
import numpy as np
import simplejpeg
import torch
from tqdm import tqdm

from handdgcl.config import Generate
from handdgcl.data.generated.annotations import (
    annotation_files,
    camera_record,
    joint_record,
    mano_record,
    view_record,
)
from handdgcl.data.generated.placement import Pair, Placer
from handdgcl.data.generated.plan import SPLITS, Frame, plan
from handdgcl.data.generated.render import Painter, random_look
from handdgcl.data.generated.scene import random_cameras, stage
from handdgcl.errors import InputError
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, INTERHAND_ORDER, SHAPE_COUNT

log = logging.getLogger(__name__)

JPEG_QUALITY = 95
_SUBJECT, _CAPTURE, _FRAME = range(3)  # what a seed belongs to


class Studio:
    """Renders and writes frames.

    Args:
        hands: both hand models.
        generate: the data set's parameters.
        folder: where `images/` stands.
    """

    def __init__(self, hands: Hands, generate: Generate, folder: Path):
        self.placer, self.painter, self.hands = Placer(hands), Painter(hands), hands
        self.generate, self.folder = generate, folder

    def _random(self, frame: Frame, owner: int) -> np.random.Generator:
        number = {_SUBJECT: frame.subject, _CAPTURE: frame.capture, _FRAME: frame.index}[owner]
        return np.random.default_rng([self.generate.seed, owner, SPLITS.index(frame.split), number])

    def shoot(self, frame: Frame) -> dict:
        """Write the frame's images; returns its records of the four annotation files."""
        shape = self._random(frame, _SUBJECT).normal(size=SHAPE_COUNT).clip(-2, 2).round(6)
        capture, random = self._random(frame, _CAPTURE), self._random(frame, _FRAME)
        look, cameras = random_look(capture), random_cameras(capture, self.generate.cameras)
        pair = None
        while pair is None:
            posed = self.placer.pair(random, shape, touching=frame.touching)
            pair = stage(self.placer, posed, cameras, random)
        mesh = self.painter.mesh(pair, list(frame.shown), look, random)
        joints = self._joints(pair)
        views = []
        for camera in cameras:
            picture = self.painter.draw(mesh, camera, look, random)
            name = f"Capture{frame.capture}/{frame.sequence}/cam{camera.name}/image{frame.index:05d}.jpg"
            path = self.folder / "images" / frame.split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(simplejpeg.encode_jpeg(picture, JPEG_QUALITY, "RGB", "420"))
            views.append(view_record(frame, camera, name, joints))
        return {
            "frame": frame,
            "views": views,
            "cameras": camera_record(cameras),
            "joints": joint_record(frame, joints),
            "mano": {hand: mano_record(frame, pair, h) for h, hand in enumerate(HANDS)},
        }

    def _joints(self, pair: Pair) -> np.ndarray:
        """The model's joints `[H, J, 3]` mm in the data set's order of joints."""
        vertices = torch.as_tensor(pair.vertices)[None]
        return self.hands.joints(vertices)[0, :, list(INTERHAND_ORDER)].numpy()


_studio: Studio | None = None  # of a worker process


def _open_studio(hands: Hands, generate: Generate, folder: Path) -> None:
    global _studio
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _studio = Studio(hands, generate, folder)


def _shoot(frame: Frame) -> dict:
    return _studio.shoot(frame)


def _shoot_all(frames: list[Frame], setting: tuple, workers: int) -> Iterator[dict]:
    """The frames' records in order, from `workers` processes (0 or 1: this one)."""
    if workers <= 1:
        threads = torch.get_num_threads(), cv2.getNumThreads()
        try:
            _open_studio(*setting)
            yield from map(_shoot, frames)
        finally:
            torch.set_num_threads(threads[0])
            cv2.setNumThreads(threads[1])
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _open_studio, setting)
    try:
        yield from pool.map(_shoot, frames, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def write_dataset(folder: Path, generate: Generate, hands: Hands, *, workers: int) -> None:
    """Render and write all splits.

    Args:
        folder: made by this call, and only when the data set is whole.
        generate: how much of what.
        hands: both hand models, on the CPU.
        workers: processes; 0 or 1 = in this one. The bytes written do not depend on it. With more, a
            script must call this under `if __name__ == "__main__"`, as they are spawned.

    Raises:
        InputError: the folder exists, or it cannot be written (a full disk, no permission).
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder}: exists already; remove it to generate the data set again")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        _write(partial, generate, hands, workers)
        os.replace(partial, folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written: {error}; free space or name another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.info("wrote %s", folder)


def _write(folder: Path, generate: Generate, hands: Hands, workers: int) -> None:
    folder.mkdir(parents=True)
    frames = plan(generate)
    records = {split: [] for split in SPLITS}
    with tqdm(total=len(frames) * generate.cameras, unit="img", desc="generate") as progress:
        for record in _shoot_all(frames, (hands, generate, folder), workers):
            records[record["frame"].split].append(record)
            progress.update(generate.cameras)
    for split in SPLITS:
        target = folder / "annotations" / split
        target.mkdir(parents=True)
        for name, content in annotation_files(records[split], generate.seed).items():
            (target / f"InterHand2.6M_{split}_{name}.json").write_bytes(msgspec.json.encode(content))
