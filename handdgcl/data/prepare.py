"""From annotated images to a store: vertices, crop, encoding, on all cores, in steps that survive a kill."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pandas as pd
from tqdm import tqdm

from handdgcl.atomic import replacing
from handdgcl.config import Data
from handdgcl.data.interhand import Selection, read_split
from handdgcl.data.part import JPEG_QUALITY, PART_SIZE, Dropped, Job, is_part, make_part, read_part
from handdgcl.data.store import MANIFEST, Manifest, read_manifest
from handdgcl.errors import InputError
from handdgcl.hands import Hands

_FORMAT = 1  # a new number discards what an earlier version left


def prepare_split(
    folder: str | Path, split: str, out: Path, data: Data, hands: Hands, *, work: Path | None = None
) -> pd.DataFrame:
    """Make the store of one split; nothing is done when `out` is already the store of this very input.

    Args:
        folder: a data set in InterHand2.6M's layout.
        split: train, val or test.
        out: folder of the store; appears when whole, in the place of an earlier store.
        data: crop, limits, number of processes.
        hands: the model of the fits, on the CPU.
        work: where parts gather, on the disk of `out`. Killed at any moment, the same call continues there,
            and the store is byte-equal to an uninterrupted one. Default: `<out>.partial`.

    Returns:
        `rule, failing, dropped, kept`: `Selection.counts` and the rules that need pixels. Also in
        `counts.csv`; `unreadable.csv` lists the images that are missing or do not decode.

    Raises:
        InputError: the input is malformed, more than `data.max_unreadable` of the images are unreadable,
            no sample is left, or a file cannot be written (a full disk).
    """
    out, folder = Path(out), Path(folder)
    work = out.with_name(f"{out.name}.partial") if work is None else Path(work)
    selection = read_split(folder, split)
    fingerprint = _fingerprint(selection, data, hands)
    if _is_store(out) and read_manifest(out).fingerprint == fingerprint and (out / "counts.csv").exists():
        return pd.read_csv(out / "counts.csv")
    _open_work(work, fingerprint)
    job = Job(selection, data, hands, work)
    _make_parts(job, split)
    counts, unreadable, rows = _collect(job)
    if not sum(rows):
        raise InputError(f"{folder}: no sample of {split} is left:\n{counts.to_string(index=False)}")
    _write(work / "counts.csv", counts.to_csv(index=False).encode())
    _write(work / "unreadable.csv", unreadable.to_csv(index=False).encode())
    _write(work / MANIFEST, msgspec.json.encode(Manifest(fingerprint, data.image_size, rows)))
    try:
        if out.exists():
            shutil.rmtree(out)
        os.replace(work, out)
    except OSError as error:
        raise InputError(
            f"{out}: not written ({error}); make room for it there, then the same command goes on"
        ) from error
    return counts


def _fingerprint(selection: Selection, data: Data, hands: Hands) -> str:
    """Of all that the store's bytes depend on; of the images, the sizes."""
    digest = hashlib.sha256(f"{_FORMAT} {PART_SIZE} {JPEG_QUALITY}".encode())
    digest.update(f"{data.image_size} {data.fill} {data.min_brightness}".encode())
    digest.update(selection.table.to_csv(index=False).encode())
    for array in (selection.fit, *selection.fits, selection.view, *selection.views):
        digest.update(np.ascontiguousarray(array))
    for name, tensor in hands.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    sizes = [_size(f"{selection.images}/{name}") for name in selection.table.file_name]
    digest.update(np.array(sizes, np.int64))
    return digest.hexdigest()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # listed as unreadable when its turn comes


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _is_store(out: Path) -> bool:
    """Whether a store is at `out`; raises when something else is."""
    if out.is_symlink():
        raise InputError(f"{out}: a link; link a folder above it, or give the folder itself")
    if (out / MANIFEST).exists():
        return True
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: exists and is no store; move it away or choose another folder")
    return False


def _open_work(work: Path, fingerprint: str) -> None:
    """Continue in a work folder of the same fingerprint, or begin a new one."""
    mark = work / "fingerprint"
    if work.exists() and not work.is_dir():
        raise InputError(f"{work}: no folder, so nothing can be prepared in it; move it away")
    if work.exists() and not (mark.exists() and mark.read_text() == fingerprint):
        shutil.rmtree(work)
    for leftover in work.glob(".*"):  # temporary files of a killed process
        leftover.unlink()
    _write(mark, fingerprint.encode())


def _make_parts(job: Job, split: str) -> None:
    """Write the parts that are not there yet."""
    missing = [part for part in range(len(job)) if not is_part(job.path(part))]
    total = len(job.selection)
    done = total - sum(len(job.rows(part)) for part in missing)
    unreadable = []
    with tqdm(total=total, initial=done, unit="img", desc=f"prepare {split}") as bar:
        for part, dropped in _run(job, missing):
            bar.update(len(job.rows(part)))
            unreadable += dropped.unreadable
            _check_unreadable(job, unreadable)


def _run(job: Job, parts: list[int]) -> Iterator[tuple[int, Dropped]]:
    """Make parts, as they come.

    Threads are enough: decoding, warping, encoding and skinning release the interpreter, and unlike
    processes threads neither hang after a fork (OpenCV's pool) nor outlive a killed parent.
    """
    with ThreadPoolExecutor(max(job.data.workers, 1)) as pool, _one_opencv_thread():
        futures = {pool.submit(make_part, job, part): part for part in parts}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Parts are made side by side: more threads in each would be in their way."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _check_unreadable(job: Job, unreadable: list[tuple[str, str]]) -> None:
    total, limit = len(job.selection), job.data.max_unreadable
    if len(unreadable) > limit * total:
        listed = "\n".join(f"  {job.selection.images / name}: {reason}" for name, reason in unreadable[:5])
        raise InputError(
            f"{job.selection.images}: {len(unreadable)} of {total} images are unreadable, more than "
            f"data.max_unreadable = {limit:.2%}; fetch them again. The first:\n{listed}"
        )


def _collect(job: Job) -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    """Counts of all rules, the unreadable images, the rows of each part."""
    parts = [read_part(job.path(part)) for part in range(len(job))]
    unreadable = [entry for _, dropped in parts for entry in dropped.unreadable]
    _check_unreadable(job, unreadable)
    kept = len(job.selection)
    rows = []
    for rule, count in (
        ("image is readable", len(unreadable)),
        (f"image mean >= {job.data.min_brightness:g}", sum(dropped.dark for _, dropped in parts)),
        ("hands in front of the camera", sum(dropped.behind for _, dropped in parts)),
    ):
        kept -= count
        rows.append((rule, count, count, kept))
    counts = pd.concat([job.selection.counts, pd.DataFrame(rows, columns=job.selection.counts.columns)])
    listed = pd.DataFrame(unreadable, columns=["file_name", "reason"])
    return counts.reset_index(drop=True), listed, [count for count, _ in parts]
