"""The row without an image: the mean of a split."""

from collections.abc import Iterator

import torch
from tqdm import tqdm

from handdgcl.data.store import Store
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale, relative_root, root_aligned
from handdgcl.model.network import Output

BATCH = 128


def mean_hand(store: Store, hands: Hands) -> Output:
    """The mean of a split in the network's terms, batch of one; it has no camera."""
    sums = [0.0, 0.0, 0.0]
    for rows in in_batches(store):
        vertices = store.vertices(rows)
        joints = hands.joints(vertices)
        scale = bone_scale(joints)[..., 0, 0]
        relative = relative_root(joints) / scale.mean(1, keepdim=True)
        values = (root_aligned(vertices, joints), scale, relative)
        sums = [a + value.double().sum(0, keepdim=True) for a, value in zip(sums, values, strict=True)]
    vertices, scale, relative = ((part / len(store)).float() for part in sums)
    return Output(vertices, scale, torch.zeros(1, 0), relative)


def in_batches(store: Store) -> Iterator[range]:
    """Positions of a store's samples, some at a time."""
    for start in tqdm(range(0, len(store), BATCH), desc=store.folder.name, leave=False, disable=None):
        yield range(start, min(start + BATCH, len(store)))
