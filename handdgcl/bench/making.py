"""Making data: the generator's images per second, and preparation beside a bare loop."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import simplejpeg

from handdgcl.bench.bench import Bench, one_thread
from handdgcl.bench.measure import Figure, alternate, speed
from handdgcl.config import Generate
from handdgcl.data.generated import write_dataset
from handdgcl.data.generated.plan import plan
from handdgcl.data.interhand import read_split
from handdgcl.data.part import JPEG_QUALITY
from handdgcl.data.store import Store
from handdgcl.data.warp import warp_crop

GENERATOR_BAR, PREPARATION_BAR = 80.0, 0.8
FEW, MANY = 8, 128  # frames of the two data sets of a round, for one or two processes


def generator(bench: Bench) -> Iterator[Figure]:
    """Images written per second, once the processes run: by one process and by several.

    Of a small and a large data set, written by turns, the differences count: neither starts nor ends do.
    """
    every = sorted({1, min(bench.cores, 2), bench.cores})
    settings = [(workers, _generate(bench, frames, workers)) for workers in every for frames in (FEW, MANY)]
    works = [lambda setting=setting: _write(bench, *setting) for setting in settings]
    times = alternate(*works, rounds=bench.turns(3), warm_up=0)
    images = [len(plan(generate)) * generate.cameras for _, generate in settings]
    pairs = zip(np.diff(images)[::2], np.diff(times)[:, ::2].T, strict=True)
    rates = {workers: more / longer for workers, (more, longer) in zip(every, pairs, strict=True)}
    about = {"images": dict(zip(map(str, every), zip(images[::2], images[1::2], strict=True), strict=True))}
    title, unit = f"generator on {bench.cores} cores", "images/s"
    yield Figure(title, rates[bench.cores].tolist(), unit=unit, bar=GENERATOR_BAR, at_least=True, about=about)
    yield Figure("generator, one process", rates[1].tolist(), unit=unit, about=about)
    for workers in every[1:2]:
        scaling = (rates[workers] / rates[1]).tolist()
        yield Figure(f"generator, {workers} processes ÷ one", scaling, about=about)


def _generate(bench: Bench, frames: int, workers: int) -> Generate:
    """So many training frames of the small profile, or more for more than two processes."""
    generate = bench.small.generate
    few = msgspec.structs.replace(generate.images, val=1, test=1)
    images = frames * max(workers, 2) // 2 * generate.cameras
    return msgspec.structs.replace(generate, images=msgspec.structs.replace(few, train=images))


def _write(bench: Bench, workers: int, generate: Generate) -> None:
    folder = bench.folder / "rendered"
    write_dataset(folder, generate, bench.hands, workers=workers)
    shutil.rmtree(folder)


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

    with one_thread():  # in each of the bare side's, as in preparation's own
        times = alternate(prepare, bare, rounds=bench.turns(7), warm_up=1)
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
