"""Batches for training and evaluation, in an order that a seed decides."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from handdgcl.config import Augment
from handdgcl.data.batch import DRAWS, DrawnBatch, RawBatch, draw_maps
from handdgcl.data.store import Store
from handdgcl.data.twins import TwinStore
from handdgcl.files import InputError

DECODED_LIMIT = 2 * 2**30  # bytes of decoded images that may stay in memory
ORDER_STREAM, AUGMENT_STREAM = 0, 1  # independent random streams of an epoch


class Draw(NamedTuple):
    """Which samples, and their random numbers."""

    index: list[int]  # B positions in the store
    numbers: np.ndarray  # [B,DRAWS] float32, uniform in [0, 1)


class Augmented(Dataset):
    """A store as training sees it: each sample with a random turn, scale and flip."""

    def __init__(self, store: Store, settings: Augment):
        self.store, self.settings = store, settings

    def __getitems__(self, draw: Draw) -> DrawnBatch:
        """What a DataLoader asks for."""
        raw = self.store.batch(draw.index)
        rotation, scale = map(torch.from_numpy, draw_maps(draw.numbers, self.settings))
        return DrawnBatch(**vars(raw), rotation=rotation, scale=scale)


class Epoch(Sampler[int]):
    """The samples in an order, and with random numbers, that depend on seed and epoch alone."""

    def __init__(self, samples: np.ndarray, *, seed: int):
        self.samples, self.seed, self.epoch = samples, seed, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[int]:
        return iter(self.random(ORDER_STREAM).permutation(self.samples).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this at the start of each."""
        self.epoch = epoch

    def random(self, stream: int) -> np.random.Generator:
        """The generator of this epoch and stream."""
        return np.random.default_rng([self.seed, self.epoch, stream])


class RankBatches(Sampler[Draw]):
    """One process's share of each joint batch of `world * batch_size` samples.

    The shares of one step, joined in the order of ranks, are the batch that a single process with the
    joint size would see. The last, partial joint batch is dropped, unless it is the only one: then it is
    shared out evenly, and repeated where there are fewer samples than processes.
    """

    def __init__(self, sampler: Epoch, *, batch_size: int, rank: int, world: int):
        self.sampler, self.batch_size, self.rank, self.world = sampler, batch_size, rank, world

    def __len__(self) -> int:
        return max(1, len(self.sampler) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Draw]:
        order = np.array(list(self.sampler))
        numbers = self.sampler.random(AUGMENT_STREAM).random((len(order), DRAWS), np.float32)
        places, joint = np.arange(len(order)), self.batch_size * self.world
        if len(places) < joint:
            places = np.resize(places, -(-len(places) // self.world) * self.world)
            joint = len(places)
        for step in range(len(self)):
            batch = places[step * joint : (step + 1) * joint].reshape(self.world, -1)[self.rank]
            yield Draw(order[batch].tolist(), numbers[batch])


def evenly(count: int, images: int | None) -> np.ndarray:
    """So many of `count` samples, evenly spaced over the store and so over its subjects; None: all.

    Raises:
        InputError: there are fewer.
    """
    if images is None:
        return np.arange(count)
    if images > count:
        raise InputError(f"train.images = {images}: the store has {count}; lower it, or null for all")
    return np.arange(images) * count // images


def open_store(folder: str | Path, *, twins: bool = False) -> Store:
    """A store that is as it was written, its images decoded into memory at once if they fit `DECODED_LIMIT`.

    Args:
        folder: of one split.
        twins: with images of each hand alone, see `TwinStore`.

    Raises:
        InputError: the store is missing or damaged.
    """
    kind = TwinStore if twins else Store
    store = kind(folder).check()
    size = store.channels * store.size**2 * len(store)
    return kind(folder, decoded=True) if size <= DECODED_LIMIT else store


def train_batches(
    store: Store,
    *,
    batch_size: int,
    seed: int,
    settings: Augment,
    images: int | None = None,
    workers: int,
    rank: int = 0,
    world: int = 1,
) -> DataLoader:
    """Shuffled `DrawnBatch`es; `loader.batch_sampler.sampler.set_epoch(epoch)` sets the epoch.

    `batch_size` is of one of the `world` processes that train together, and this one is `rank`; `seed`
    decides the order and the augmentation; `images`: how many of the samples, see `evenly`.
    """
    epoch = Epoch(evenly(len(store), images), seed=seed)
    batches = RankBatches(epoch, batch_size=batch_size, rank=rank, world=world)
    return _loader(Augmented(store, settings), store, workers, batch_sampler=batches)


def eval_batches(store: Store, *, batch_size: int, workers: int, rank: int = 0, world: int = 1) -> DataLoader:
    """One process's share of all samples, every `world`-th in the store's order, as `RawBatch`.

    The last batch may be smaller. Of fewer samples than processes each has all.
    """
    share = range(rank, len(store), world) if len(store) >= world else range(len(store))
    return _loader(store, store, workers, batch_size=batch_size, sampler=share)


def _loader(dataset: Dataset | Store, store: Store, workers: int, **sampling) -> DataLoader:
    """`workers` processes load, none where nothing is left to decode; they change nothing but speed."""
    workers = 0 if store.decoded else workers
    return DataLoader(
        dataset,
        collate_fn=_stacked_already,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        **sampling,
    )


def _stacked_already(batch: RawBatch) -> RawBatch:
    return batch
