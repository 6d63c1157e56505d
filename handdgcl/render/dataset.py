"""Writing the rendered data set in InterHand2.6M's layout (Moon et al. 2020; MANO fits: Moon 2023).

Every random choice is seeded by what it belongs to (a subject, a capture or a frame), so the bytes do
not depend on the number of processes.
"""

import copy
import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

import cv2
import msgspec
import numpy as np
import simplejpeg
import torch
from tqdm import tqdm

from handdgcl.config import Generate
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, INTERHAND_ORDER, SHAPE_COUNT
from handdgcl.render.annotations import (
    annotation_files,
    camera_record,
    image_records,
    joint_record,
    mano_record,
)
from handdgcl.render.pairs import Pair, PairSampler
from handdgcl.render.picture import Painter
from handdgcl.render.scene import (
    SPLITS,
    Camera,
    Frame,
    plan,
    random_appearance,
    random_cameras,
    stage,
)

log = logging.getLogger(__name__)

JPEG_QUALITY = 95
HANDS_MARK = "hands.sha256"  # beside images/: `Hands.fingerprint` of those whose parameters the fits are


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
    (folder / HANDS_MARK).write_text(hands.fingerprint())
    frames = plan(generate)
    records = {split: [] for split in SPLITS}
    with tqdm(total=len(frames) * generate.cameras, unit="img", desc="generate") as progress:
        for record in _render(frames, (hands, generate, folder), workers):
            records[record["frame"].split].append(record)
            progress.update(generate.cameras)
    for split in SPLITS:
        files = annotation_files(records[split], generate.seed)
        for root in (folder, *(twin_folder(folder, hand) for hand in HANDS if generate.twins)):
            target = root / "annotations" / split
            target.mkdir(parents=True)
            for name, content in files.items():
                (target / f"InterHand2.6M_{split}_{name}.json").write_bytes(msgspec.json.encode(content))


def twin_folder(folder: Path, hand: str) -> Path:
    """The twin of a rendered data set whose images show one hand alone, its annotations both."""
    return folder / "twins" / hand


def _render(frames: list[Frame], settings: tuple, workers: int) -> Iterator[dict]:
    """The frames' records in order, from `workers` processes (0 or 1: this one)."""
    if workers > 1:
        # Through shared memory: a start waits until what outgrows a pipe is read, so until that worker has
        # imported everything, and they would start one after the other.
        packed = torch.frombuffer(bytearray(pickle.dumps(settings)), dtype=torch.uint8).share_memory_()
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (packed,))
        try:
            yield from pool.map(_render_frame, frames, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)
        return
    with one_thread_each():
        _use(*settings)
        yield from map(_render_frame, frames)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """For work that is done side by side: more threads are in the way, and change torch's last bits."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


_renderer: "FrameRenderer"  # of a worker process


def _start_worker(packed: torch.Tensor) -> None:
    if parent := parent_process():  # one that is killed cannot end its workers, which would wait for ever
        Thread(target=lambda: wait([parent.sentinel]) and os._exit(1), daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _use(*pickle.loads(packed.numpy()))


def _use(*settings) -> None:
    global _renderer
    _renderer = FrameRenderer(*settings)


def _render_frame(frame: Frame) -> dict:
    return _renderer.render(frame)


class FrameRenderer:
    """Renders and writes frames to `folder`/images."""

    def __init__(self, hands: Hands, generate: Generate, folder: Path):
        self.sampler, self.painter, self.hands = PairSampler(hands), Painter(hands), hands
        self.generate, self.folder = generate, folder

    def render(self, frame: Frame) -> dict:
        """Write the frame's images; returns its records of the four annotation files."""
        capture, random = self._random(frame, "capture"), self._random(frame, "index")
        look, around = random_appearance(capture), self.generate
        turns = {"azimuth_deg": around.azimuth_deg, "roll_deg": around.roll_deg}
        cameras = random_cameras(capture, around.cameras, **turns)
        pair = self._pair(frame, cameras, random)
        mesh = self.painter.mesh(pair, list(frame.shown), look, random)
        joints = self.hands.joints(torch.as_tensor(pair.vertices)[None])[0, :, list(INTERHAND_ORDER)].numpy()
        images = []
        for camera in cameras:
            image, annotation = image_records(frame, camera, joints)
            name, before = Path("images", frame.split, image["file_name"]), copy.deepcopy(random)
            _write_jpeg(self.folder / name, self.painter.draw(mesh, camera, look, random))
            for h, hand in enumerate(HANDS) if self.generate.twins else ():
                twin = self.painter.draw(mesh, camera, look, copy.deepcopy(before), alone=h)
                _write_jpeg(twin_folder(self.folder, hand) / name, twin)
            images.append((image, annotation))
        return {
            "frame": frame,
            "images": images,
            "cameras": camera_record(cameras),
            "joints": joint_record(frame, joints),
            "mano": mano_record(frame, pair),
        }

    def _random(self, frame: Frame, owner: str) -> np.random.Generator:
        """A generator for all that belongs to the frame's `subject`, `capture` or `index`."""
        kind, split = ("subject", "capture", "index").index(owner), SPLITS.index(frame.split)
        return np.random.default_rng([self.generate.seed, kind, split, getattr(frame, owner)])

    def _pair(self, frame: Frame, cameras: list[Camera], random: np.random.Generator) -> Pair:
        """A pair of the frame's subject that fits into every image."""
        shape = self._random(frame, "subject").normal(size=SHAPE_COUNT).clip(-2, 2).round(6)
        while True:
            pair = stage(self.sampler.pair(random, shape, touching=frame.touching), cameras, random)
            if pair is not None:
                return pair


def _write_jpeg(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(picture, JPEG_QUALITY, "RGB", "420"))
