"""Order and augmentation of batches: seed and epoch decide, ranks share, nothing is lost."""

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from torch.utils.data._utils.pin_memory import pin_memory

from handdgcl.config import Augment
from handdgcl.data.loader import Epoch, RankBatches, eval_batches, evenly, open_store, train_batches
from handdgcl.data.store import Store
from handdgcl.files import InputError

STILL = Augment(rotation_deg=0, scale=0, flip=0)
AUGMENT = Augment(rotation_deg=30, scale=0.1, flip=0.5)


@pytest.fixture(scope="module")
def store(tiny_store):
    """10 samples."""
    return Store(tiny_store / "train")


def batches_of(store, batch_size, *, seed=0, workers=0, settings=STILL):
    return train_batches(store, batch_size=batch_size, seed=seed, settings=settings, workers=workers)


def epoch_of(loader, epoch):
    loader.batch_sampler.sampler.set_epoch(epoch)
    return [batch.index.tolist() for batch in loader]


def test_seed_and_epoch_decide_the_order(store):
    loader = lambda seed, workers=0: batches_of(store, 3, seed=seed, workers=workers)
    first = epoch_of(loader(0), 0)
    assert [len(batch) for batch in first] == [3, 3, 3]  # 10 samples: the last one waits for another epoch
    used = loader(0)
    assert [epoch_of(used, e) for e in (1, 0, 1)] == [epoch_of(loader(0), e) for e in (1, 0, 1)]
    assert epoch_of(used, 0) == first == epoch_of(loader(0, workers=2), 0)
    assert first != epoch_of(used, 1) and first != epoch_of(loader(1), 0)


def test_batches_hold_what_the_store_holds(store):
    for workers in (0, 1):
        batch = next(iter(batches_of(store, 4, seed=3, workers=workers)))
        expected = store.batch(batch.index)
        assert all(torch.equal(value, getattr(batch, name)) for name, value in vars(expected).items())


@pytest.mark.parametrize(("count", "batch_size", "world"), [(24, 3, 2), (24, 2, 3), (5, 4, 2), (2, 4, 2)])
def test_ranks_share_each_sample_once(count, batch_size, world):
    ranks = [
        list(RankBatches(Epoch(np.arange(count), seed=0), batch_size=batch_size, rank=rank, world=world))
        for rank in range(world)
    ]
    sizes = {tuple(len(draw.index) for draw in batches) for batches in ranks}
    assert len(sizes) == 1  # or the processes wait for each other
    seen = np.concatenate([draw.index for batches in ranks for draw in batches])
    assert set(seen) == set(range(count))
    if count % world == 0:
        assert len(seen) == count


def test_ranks_joined_are_a_single_process_batch():
    joint = list(RankBatches(Epoch(np.arange(24), seed=5), batch_size=6, rank=0, world=1))
    ranks = [RankBatches(Epoch(np.arange(24), seed=5), batch_size=3, rank=rank, world=2) for rank in (0, 1)]
    for whole, *shares in zip(joint, *ranks, strict=True):
        assert [k for share in shares for k in share.index] == whole.index
        assert np.array_equal(np.concatenate([share.numbers for share in shares]), whole.numbers)


def test_seed_and_epoch_decide_the_augmentation(store):
    def maps(seed, epoch, workers=0):
        loader = batches_of(store, 3, seed=seed, workers=workers, settings=AUGMENT)
        loader.batch_sampler.sampler.set_epoch(epoch)
        return list(loader)

    for one, same in zip(maps(0, 2), maps(0, 2, workers=2), strict=True):
        assert all(torch.equal(value, getattr(same, name)) for name, value in vars(one).items())
    streams = (Epoch(np.arange(3), seed=0).random(stream).random() for stream in (0, 1))
    assert len(set(streams)) == 2
    scales = [torch.cat([batch.scale for batch in maps(*at)]) for at in ((0, 2), (0, 3), (1, 2))]
    assert len({tuple(scale.tolist()) for scale in scales}) == 3
    assert all(len(scale.unique()) == len(scale) for scale in scales)


def test_fewer_samples_than_processes_or_than_a_batch(store):
    shares = [list(RankBatches(Epoch(np.arange(1), seed=0), batch_size=8, rank=r, world=3)) for r in range(3)]
    assert [[draw.index for draw in share] for share in shares] == [[[0]]] * 3
    batches = epoch_of(batches_of(store, 64), 0)
    assert len(batches) == 1 and sorted(batches[0]) == list(range(10))


def test_fewer_images_stand_evenly_in_the_store():
    assert evenly(10, None).tolist() == list(range(10))
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]
    with pytest.raises(InputError, match=r"train.images = 11: the store has 10"):
        evenly(10, 11)


def test_lightning_sets_the_epoch(store):
    loader = batches_of(store, 3)
    _set_sampler_epoch(loader, 7)
    assert [batch.index.tolist() for batch in loader] == epoch_of(loader, 7) != epoch_of(loader, 0)


def test_evaluation_sees_every_sample_once_in_order(store):
    for workers in (0, 2):
        batches = [batch.index.tolist() for batch in eval_batches(store, batch_size=4, workers=workers)]
        assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("gpu", [True, False])
def test_batches_are_pinned_where_there_is_a_gpu(store, monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    for loader in (batches_of(store, 3), eval_batches(store, batch_size=3, workers=0)):
        assert loader.pin_memory == gpu


def test_a_batch_is_pinned_by_its_tensors(store, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # what needs a GPU
    batch = store.batch([2, 5])
    assert type(pin_memory(batch)) is type(batch)
    assert pin_memory(batch).index.tolist() == [3, 6]


def test_nothing_is_loaded_in_other_processes_that_is_decoded_already(tiny_store):
    workers = lambda store: eval_batches(store, batch_size=3, workers=2).num_workers
    assert workers(Store(tiny_store / "val")) == 2
    assert workers(open_store(tiny_store / "val")) == 0
