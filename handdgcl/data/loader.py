"""Batches for training and evaluation, in an order that a seed decides."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Sampler

from handdgcl.config import Augment
from handdgcl.data.augment import DRAWS, Augmented, Draw
from handdgcl.data.batch import RawBatch
from handdgcl.data.store import Store
from handdgcl.errors import InputError

DECODED_LIMIT = 2 * 2**30  # bytes of decoded images that may stay in memory
# Independent random streams of an epoch.
ORDER_STREAM, AUGMENT_STREAM = 0, 1


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
    """Shuffled batches, augmentation drawn; `loader.batch_sampler.sampler.set_epoch(epoch)` sets the epoch.

    Args:
        store: the samples.
        batch_size: of one process.
        seed: of the order and the augmentation.
        settings: of the augmentation.
        images: how many of the samples, see `evenly`.
        workers: processes that load; 0 = this one. They change nothing but speed.
        rank, world: this process among those that train together.

    Returns:
        A loader of `DrawnBatch`.
    """
    epoch = Epoch(evenly(len(store), images), seed=seed)
    batches = RankBatches(epoch, batch_size=batch_size, rank=rank, world=world)
    return DataLoader(
        Augmented(store, settings),
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def eval_batches(store: Store, *, batch_size: int, workers: int) -> DataLoader:
    """All samples in the store's order; the last batch may be smaller."""
    return DataLoader(store, batch_size=batch_size, collate_fn=_as_it_is, num_workers=workers)


def _as_it_is(batch: RawBatch) -> RawBatch:
    """The store has stacked the samples already."""
    return batch


def open_store(folder: str | Path) -> Store:
    """A store whose images are decoded into memory at once if they fit `DECODED_LIMIT`."""
    store = Store(folder)
    return Store(folder, decoded=True) if 3 * store.size**2 * len(store) <= DECODED_LIMIT else store


def loader_workers(store: Store, workers: int) -> int:
    """Processes that load this store: none where nothing is left to decode."""
    return 0 if store.decoded else workers
