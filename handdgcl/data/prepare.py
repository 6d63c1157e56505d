"""From annotated images to a store: vertices, crop, encoding, on all cores, in steps that survive a kill."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from tqdm import tqdm

from handdgcl.config import Data
from handdgcl.data.interhand import Selection, read_split
from handdgcl.data.keypoints import check_keypoints
from handdgcl.data.part import Dropped, Job, make_part, read_part, readable_now
from handdgcl.data.store import MANIFEST, Manifest, Store, checksum, read_manifest
from handdgcl.data.twins import twin_store
from handdgcl.files import InputError, code_digest, holding, write_file
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS
from handdgcl.project import SPLITS
from handdgcl.render.dataset import one_thread_each, twin_folder

_REMEDIES = {  # by the limit that is broken
    "max_unreadable": "fetch them again",
    "max_dark": "are they of 8 bits, as they were published?",
    "max_dropped": "are images, cameras and fits of one set, in px, mm and metres?",
}
_BESIDE = ("handdgcl.config", "handdgcl.files", "handdgcl.data.interhand")  # what they do counts by value


def prepare_split(folder: str | Path, split: str, out: Path, data: Data, hands: Hands) -> pd.DataFrame:
    """Make the store of one split; nothing is done when `out` is already the store of this very input.

    Args:
        folder: a data set in InterHand2.6M's layout.
        split: train, val or test.
        out: folder of the store; appears when whole, in the place of an earlier store. Parts gather in
            `<out>.partial`: killed at any moment, the same call continues there, and the store is
            byte-equal to an uninterrupted one.
        data: crop, limits, number of processes.
        hands: the model of the fits, on the CPU.

    Returns:
        `rule, failing, dropped, kept`: `Selection.counts` and the rules that need pixels. Also in
        `counts.csv`; `unreadable.csv` lists the images that are missing or do not decode.

    Raises:
        InputError: another process prepares it, the input is malformed, more than `data.max_unreadable` of
            the images are unreadable or a rule drops more than its limit (`_rules`), no sample is left, or
            a file cannot be written (a full disk).
    """
    with holding(Path(out), "prepares this store"):
        return _prepare(Path(folder), split, Path(out), data, hands)


def _prepare(folder: Path, split: str, out: Path, data: Data, hands: Hands) -> pd.DataFrame:
    work, old = out.with_name(f"{out.name}.partial"), out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    selection = read_split(folder, split)
    inputs = _inputs(selection, data, hands)
    made = Job(selection, data, hands, out)
    if _is_made(out, inputs) and all(_is_whole(made, part) for part in range(len(made))):
        _collect(made)  # within limits that were changed since
        return pd.read_csv(out / "counts.csv")
    check_keypoints(folder, split, selection, hands)
    _open_work(work, inputs)
    job = Job(selection, data, hands, work)
    _make_parts(job, split)
    counts, unreadable, rows = _collect(job)
    if not sum(rows):
        raise InputError(f"{folder}: no sample of {split} is left:\n{counts.to_string(index=False)}")
    write_file(work / "counts.csv", counts.to_csv(index=False))
    write_file(work / "unreadable.csv", unreadable.to_csv(index=False))
    sums = [checksum(job.path(part)) for part in range(len(job))]
    content = hashlib.sha256("\n".join([inputs, *unreadable.file_name]).encode()).hexdigest()
    cut = (data.fill, data.min_brightness)
    manifest = Manifest(content, data.image_size, rows, sums, hands.fingerprint(), *cut, inputs)
    write_file(work / MANIFEST, msgspec.json.encode(manifest))
    try:
        if out.exists():  # a kill while it is deleted would leave what is no store
            os.replace(out, old)
        os.replace(work, out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        remedy = "make room for it there, then the same command goes on"
        raise InputError(f"{out}: not written ({error}); {remedy}") from error
    return counts


def prepare_twins(folder: Path, store: Path, data: Data, hands: Hands) -> None:
    """Stores of a rendered data set's twins (`TwinStore`), with every image that those of `store` have."""
    data = msgspec.structs.replace(data, min_brightness=0.0)
    for split, hand in product(SPLITS, HANDS):
        prepare_split(twin_folder(folder, hand), split, twin_store(store / split, hand), data, hands)


def _inputs(selection: Selection, data: Data, hands: Hands) -> str:
    """Of all that the store's bytes depend on; of the images, the sizes."""
    code = code_digest("handdgcl.data.part", leave_out=_BESIDE)
    digest = hashlib.sha256(f"{code} {data.image_size} {data.fill} {data.min_brightness}".encode())
    digest.update(selection.table.to_csv(index=False).encode())
    for array in (selection.fit, *selection.fits, selection.view, *selection.views):
        digest.update(np.ascontiguousarray(array))
    digest.update(hands.fingerprint().encode())
    digest.update(np.ascontiguousarray(selection.size))
    sizes = [_size(f"{selection.images}/{name}") for name in selection.table.file_name]
    digest.update(np.array(sizes, np.int64))
    return digest.hexdigest()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # listed as unreadable when its turn comes


def _is_made(out: Path, inputs: str) -> bool:
    """Whether the store of this input is at `out`, as it was written; raises when something else is."""
    if out.is_symlink():
        raise InputError(f"{out}: a link, which DVC does not track; give the folder itself")
    empty = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not empty and not (out / MANIFEST).exists():
        raise InputError(f"{out}: exists and is no store; move it away or choose another folder")
    try:
        same = read_manifest(out).inputs == inputs and (out / "counts.csv").exists()
        return same and bool(Store(out).check())
    except InputError:
        return False


def _open_work(work: Path, inputs: str) -> None:
    """Continue in a work folder of the same inputs, or begin a new one."""
    mark = work / "fingerprint"
    if work.exists() and not work.is_dir():
        raise InputError(f"{work}: no folder, so nothing can be prepared in it; move it away")
    if work.exists() and not (mark.exists() and mark.read_text() == inputs):
        shutil.rmtree(work)
    for leftover in work.glob(".*"):  # temporary files of a killed process
        leftover.unlink()
    write_file(mark, inputs)


def _make_parts(job: Job, split: str) -> None:
    """Write the parts that are not there yet.

    Threads are enough: decoding, warping, encoding and skinning release the interpreter, and unlike
    processes threads neither hang after a fork (OpenCV's pool) nor outlive a killed parent.
    """
    missing = [part for part in range(len(job)) if not _is_whole(job, part)]
    total, made = len(job.selection), []
    done = total - sum(len(job.rows(part)) for part in missing)
    with (
        tqdm(total=total, initial=done, unit="img", desc=f"prepare {split}") as bar,
        one_thread_each(),
        ThreadPoolExecutor(max(job.data.workers, 1)) as pool,
    ):
        futures = {pool.submit(make_part, job, part): part for part in missing}
        try:
            for future in as_completed(futures):
                bar.update(len(job.rows(futures[future])))
                made.append(future.result())
                _check_dropped(job, made)
        finally:
            pool.shutdown(cancel_futures=True)


def _is_whole(job: Job, part: int) -> bool:
    """Whether a part is there and nothing that it lacks can be had."""
    found = read_part(job.path(part))
    return found is not None and not readable_now(job, found[1])


def _check_dropped(job: Job, made: list[Dropped]) -> None:
    """No rule may drop much: then the data, not the samples, are wrong.

    Raises:
        InputError: one does; the message names the rule, its limit and the first images.
    """
    total, unreadable = len(job.selection), [entry for dropped in made for entry in dropped.unreadable]
    listed = "\n".join(f"  {job.selection.images / name}: {reason}" for name, reason in unreadable[:5])
    for rule, (count, limit) in _rules(job.data, made).items():
        if count > (most := getattr(job.data, limit)) * total:
            raise InputError(
                f"{job.selection.images}: {count} of {total} images break the rule {rule!r}, more than "
                f"data.{limit} = {most:.2%}; {_REMEDIES[limit]}"
                + (f". Unusable:\n{listed}" if listed else "")
            )


def _rules(data: Data, made: list[Dropped]) -> dict[str, tuple[int, str]]:
    """The rules that need pixels or vertices, in their order: images that break one, its limit's name."""
    count = lambda field: sum(getattr(dropped, field) for dropped in made)
    unreadable = sum(len(dropped.unreadable) for dropped in made) - count("resized")
    return {
        "image is readable": (unreadable, "max_unreadable"),
        "image of its annotated size": (count("resized"), "max_dropped"),
        f"image mean >= {data.min_brightness:g}": (count("dark"), "max_dark"),
        "hands in front of the camera": (count("behind"), "max_dropped"),
        "both hands in the picture": (count("outside"), "max_dropped"),
        f"crop mean >= {data.min_brightness:g}": (count("black"), "max_dropped"),
    }


def _collect(job: Job) -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    """Counts of all rules, the unreadable images, the rows of each part."""
    parts = [read_part(job.path(part)) for part in range(len(job))]
    made = [dropped for _, dropped in parts]
    _check_dropped(job, made)
    unreadable = [entry for dropped in made for entry in dropped.unreadable]
    counted = {rule: count for rule, (count, _) in _rules(job.data, made).items()}
    kept = len(job.selection) - np.cumsum(list(counted.values()))
    rows = zip(counted, counted.values(), counted.values(), kept, strict=True)
    counts = pd.concat([job.selection.counts, pd.DataFrame(rows, columns=job.selection.counts.columns)])
    listed = pd.DataFrame(unreadable, columns=["file_name", "reason"])
    return counts.reset_index(drop=True), listed, [count for count, _ in parts]
