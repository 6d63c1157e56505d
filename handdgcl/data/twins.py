"""Images of each hand alone beside those of the pair: twins of a rendered data set, joined by image."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handdgcl.data.store import MANIFEST, Indices, Store, read_manifest
from handdgcl.files import InputError
from handdgcl.hands.topology import HANDS


class TwinStore(Store):
    """A store whose images have nine channels: of the pair, of the left hand alone, of the right one alone.

    Raises:
        InputError: it has no twins, or they are of other images.
    """

    channels = 3 * (1 + len(HANDS))

    def __init__(self, folder: str | Path, *, decoded: bool = False):
        self._alone = [Store(twin) for twin in _twins(Path(folder))]
        super().__init__(folder)
        images = self.table["image_id"].to_numpy()
        self._rows = []  # of each twin, by position
        for twin in self._alone:
            theirs = twin.table["image_id"].to_numpy()
            order = np.argsort(theirs)
            found = order[np.searchsorted(theirs, images, sorter=order).clip(max=len(order) - 1)]
            same = np.array_equal(theirs[found], images) and twin.size == self.size
            if not (same and np.array_equal(twin._intrinsics[found], self._intrinsics)):  # of one crop
                raise InputError(
                    f"{twin.folder}: not of the images of {folder}; prepare the data again (stage `data`)"
                )
            self._rows.append(found)
        if decoded:
            super().__init__(folder, decoded=True)

    def check(self) -> "TwinStore":
        """As `Store.check`, of the twins too."""
        for twin in self._alone:
            twin.check()
        return super().check()

    def images(self, indices: Indices) -> Tensor:
        """`[B, 9, S, S]` uint8, channels last in memory: RGB of the pair, of either hand alone."""
        pair = super().images(indices)
        if self._images is not None:  # all channels are there
            return pair
        positions = self._positions(indices)
        alone = [twin.images(rows[positions]) for twin, rows in zip(self._alone, self._rows, strict=True)]
        return torch.cat([pair, *alone], 1).contiguous(memory_format=torch.channels_last)


def twin_store(folder: Path, hand: str) -> Path:
    """Where the store of a split's twin lies, beside that of the split."""
    return folder.parent / f"alone-{hand}" / folder.name


def fingerprints(store: Path, splits: Iterable[str], *, twins: bool = False) -> dict[str, str]:
    """Of the stores of these splits, and of their twins.

    Raises:
        InputError: one is missing.
    """
    folders = {split: store / split for split in splits}
    if twins:
        folders |= {
            f"{split}, {twin.parent.name}": twin for split in splits for twin in _twins(store / split)
        }
    return {name: read_manifest(folder).fingerprint for name, folder in folders.items()}


def _twins(folder: Path) -> list[Path]:
    """The stores of a split's twins, if they are there."""
    twins = [twin_store(folder, hand) for hand in HANDS]
    for twin in twins:
        if not (twin / MANIFEST).exists():
            raise InputError(
                f"{twin}: no images of each hand alone, which this row learns from; rendered data have them "
                "with generate.twins=true (stage `data`), photographs have none"
            )
    return twins
