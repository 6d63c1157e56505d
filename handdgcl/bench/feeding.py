"""From the store to augmented batches, and how long training waits for them."""

import copy
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from handdgcl.bench.bench import CPU, Bench, moved, one_thread
from handdgcl.bench.measure import Figure, alternate, finished, speed
from handdgcl.bench.steps import FULL, TrainingStep, training_step
from handdgcl.config import Config
from handdgcl.data.augment import DRAWS, Augmented, Draw, augment
from handdgcl.data.loader import loader_workers, open_store, train_batches
from handdgcl.data.store import Store, part_name
from handdgcl.rows import get_row

DATA_BAR, WAIT_BAR = 0.8, 0.02
SAMPLES = 256
BATCH = 32
STEPS = {"large": 3, "small": 8}  # of one round
LEAD = 2  # steps before the first round


def data(bench: Bench) -> Iterator[Figure]:
    """Samples per second on one core, beside nothing but decoding the same JPEGs; augmented on the device."""
    store, jpegs = Store(bench.stores[0]), stored_jpegs(bench.stores[0], SAMPLES)
    hands = copy.deepcopy(bench.hands).to(bench.device)
    rows = range(len(jpegs))
    batches = [rows[start : start + BATCH] for start in rows[::BATCH]]
    numbers = np.random.default_rng(0).random((BATCH, DRAWS), np.float32)
    drawn = Augmented(store, bench.large.augment)

    def load() -> None:
        for batch in batches:
            store.batch(batch)

    def load_and_augment() -> None:
        for batch in batches:
            raw = drawn.__getitems__(Draw(batch, numbers[: len(batch)]))
            augment(moved(raw, bench.device), hands)
        finished(bench.device)

    works = [load_and_augment, load, *_bare(jpegs, store.size)]
    with one_thread():
        ours, plain, warped, bare = alternate(*works, rounds=bench.turns(9)).T
    about = {"image_size": store.size, "samples": len(jpegs), "cores": 1}
    for title, this, that, bar in (
        ("store to augmented batches ÷ bare JPEG decoding", ours, bare, DATA_BAR),
        ("store to batches, not augmented ÷ bare JPEG decoding", plain, bare, None),
        ("bare JPEG decoding and a bare warp by OpenCV ÷ bare JPEG decoding", warped, bare, None),
    ):
        times = np.stack([this, that], 1)
        yield speed(title, times, device=bench.device.type, bar=bar, about=about)


def _bare(jpegs: list[bytes], size: int) -> list[Callable[[], None]]:
    """Decoding with one linear warp by OpenCV, the least that an augmentation by it takes; decoding alone."""
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), 10, 1.0)

    def decode_and_warp() -> None:
        for jpeg in jpegs:  # in pixels of four bytes, the fastest
            cv2.warpAffine(simplejpeg.decode_jpeg(jpeg, "RGBX"), turn, (size, size))

    def decode() -> None:
        for jpeg in jpegs:
            simplejpeg.decode_jpeg(jpeg, "RGB")

    return [decode_and_warp, decode]


def stored_jpegs(folder: Path, count: int) -> list[bytes]:
    """The first encoded images of a store."""
    with pa.memory_map(str(folder / part_name(0))) as file:
        return pa.ipc.open_file(file).get_batch(0)["jpeg"][:count].to_pylist()


def waiting(bench: Bench) -> Iterator[Figure]:
    """The share of training's time in which it waits for the next batch."""
    store = Store(bench.stores[0])  # not decoded: the profile's own number of images would not fit
    workers = min(bench.large.data.workers, bench.cores)
    yield _wait(bench, bench.large, store, bench.batch, workers, STEPS["large"])
    store = open_store(bench.stores[1])
    workers = loader_workers(store, bench.small.data.workers)
    yield _wait(bench, bench.small, store, bench.small.train.batch_size, workers, STEPS["small"])


def _wait(bench: Bench, config: Config, store: Store, images: int, workers: int, steps: int) -> Figure:
    """Wait and work by turns, as training does."""
    step = training_step(bench, FULL, config, images)
    loader = train_batches(store, batch_size=images, seed=0, settings=config.augment, workers=workers)
    batches = chain.from_iterable(repeat(loader))
    shares = []
    for count in [LEAD, *[steps] * bench.turns(5)]:
        pairs = [_next_and_step(step, batches, bench.device) for _ in range(count)]
        waited = sum(wait for wait, _ in pairs)
        shares.append(waited / sum(map(sum, pairs)))
    title = f"{config.profile} profile: waiting for data ÷ training, {get_row(FULL).title}"
    about = {"image_size": store.size, "batch": images, "workers": workers, "steps": steps}
    return Figure(title, shares[1:], device=bench.device.type, bar=WAIT_BAR, about=about)


def _next_and_step(step: TrainingStep, batches: Iterator, device: torch.device) -> tuple[float, float]:
    """Seconds until the batch is there, and of the step."""
    start = time.perf_counter()
    raw = next(batches)
    step.raw = raw if device == CPU else moved(raw, device)
    there = time.perf_counter()
    step()
    return there - start, time.perf_counter() - there
