"""Making data: the generator's images per second, and preparation beside a bare loop."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from tqdm import tqdm

from handdgcl.bench.bench import Bench
from handdgcl.bench.measure import Figure, alternate, speed
from handdgcl.data.generated.plan import plan
from handdgcl.data.generated.writer import _shoot_all
from handdgcl.data.interhand import read_split
from handdgcl.data.part import JPEG_QUALITY
from handdgcl.data.store import Store
from handdgcl.data.warp import warp_crop

GENERATOR_BAR, PREPARATION_BAR = 80.0, 0.8
FRAMES = 120  # that count in a round of one or two processes
STARTED = 8  # before them, until both have started


def generator(bench: Bench) -> Iterator[Figure]:
    """Images written per second, once the processes run: the same frames by one process and by several."""
    generate, many = bench.small.generate, min(bench.cores, 2)
    rates = {1: [], many: [], bench.cores: []}
    for turn in range(bench.turns(3)):
        for workers, found in rates.items():
            folder = bench.folder / f"rendered-{workers}-{turn}"
            found.append(generate.cameras * _frames_per_second(bench, workers, folder))
            shutil.rmtree(folder)
    about = {"frames": FRAMES, "cameras": generate.cameras}
    title = f"generator on {bench.cores} cores"
    unit = "images/s"
    yield Figure(title, rates[bench.cores], unit=unit, bar=GENERATOR_BAR, at_least=True, about=about)
    yield Figure("generator, one process", rates[1], unit=unit, about=about)
    if many > 1:
        scaling = (np.array(rates[many]) / rates[1]).tolist()
        yield Figure(f"generator, {many} processes ÷ one", scaling, about=about)


def _frames_per_second(bench: Bench, workers: int, folder: Path) -> float:
    """The generator's own loop, private there as nothing else needs it without the annotation files."""
    setting = (bench.hands, bench.small.generate, folder)
    started, wanted = (count * max(workers, 2) // 2 for count in (STARTED, FRAMES))
    frames = plan(bench.small.generate)[: started + wanted]
    shot = _shoot_all(frames, setting, workers)
    for _ in range(started):
        next(shot)
    start = time.perf_counter()
    count = sum(1 for _ in tqdm(shot, total=wanted, desc="generate", leave=False))
    return count / (time.perf_counter() - start)


def preparation(bench: Bench) -> Iterator[Figure]:
    """The whole data stage after rendering, beside decoding, cutting and encoding the same images."""
    config, out = bench.large, bench.folder / "prepared"
    jobs = _crops(bench)

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        bench.prepare(config, out)

    def one(job: tuple[Path, np.ndarray]) -> int:
        path, crop = job
        image = simplejpeg.decode_jpeg(path.read_bytes(), "RGB")
        cut = warp_crop(image, crop, size=config.data.image_size)
        return len(simplejpeg.encode_jpeg(cut, JPEG_QUALITY, "RGB", "444"))

    def bare() -> None:
        shares = [jobs[core :: bench.cores] for core in range(bench.cores)]
        with ThreadPoolExecutor(bench.cores) as pool:
            list(pool.map(lambda share: [one(job) for job in share], shares))

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as preparation does
    try:
        times = alternate(prepare, bare, rounds=bench.turns(7), warm_up=1)
    finally:
        cv2.setNumThreads(threads)
    about = {"image_size": config.data.image_size, "images": len(jobs), "cores": bench.cores}
    title = "preparation ÷ bare decoding, cutting and encoding"
    yield speed(title, times, bar=PREPARATION_BAR, about=about)


def _crops(bench: Bench) -> list[tuple[Path, np.ndarray]]:
    """(image, crop `[2, 3]`) of all samples; the crop is what turned the camera's K into the sample's."""
    selection, store = read_split(bench.dataset, "train", progress=False), Store(bench.stores[0])
    table = selection.table.reset_index(names="row").merge(store.table[["image_id"]], on="image_id")
    kept = table.row.to_numpy()
    full = selection.views.intrinsics[selection.view[kept]]  # [N,3,3]
    cut = store.intrinsics(range(len(store))).numpy()
    crops = np.einsum("nij,njk->nik", cut, np.linalg.inv(full))[:, :2]
    return [(selection.images / name, crop) for name, crop in zip(table.file_name, crops, strict=True)]
