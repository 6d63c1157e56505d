"""Cost against work: a training step's batch, queue, graph and image, and preparation's samples."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from handdgcl.bench.annotation_files import repeat_images
from handdgcl.bench.bench import Bench
from handdgcl.bench.growth import Growth, growth
from handdgcl.bench.measure import alternate
from handdgcl.bench.steps import BASELINE, FULL, TrainingStep, training_step
from handdgcl.data.store import read_manifest
from handdgcl.rows import get_row

# So large that what grows shows beside what does not. Nodes are of the coarsest level: with more than 388
# the next one, twice as fine, would be finer than the mesh.
SIZES = {
    "batch": (8, 16, 32, 64, 128),
    "image_size": (32, 64, 128, 256),
    "nodes": (63, 126, 252, 378),
    "queue": (1024, 4096, 16384, 65536),
}
TITLES = {
    "batch": "images in the batch",
    "image_size": "pixels of an image",
    "nodes": "graph nodes",
    "queue": "keys in the queue",
}
COPIES = (1, 2, 4)  # of the rendered data set's images


def training(bench: Bench) -> Iterator[Growth]:
    """The small model's step; the baseline has no queue."""
    for quantity, sizes in SIZES.items():
        for name in (FULL,) if quantity == "queue" else (FULL, BASELINE):
            steps = [step_of(bench, name, quantity, size) for size in sizes]
            times = alternate(*steps, rounds=bench.turns(7))
            work = f"training step, {get_row(name).title}"
            amounts = [size**2 if quantity == "image_size" else size for size in sizes]
            yield growth(work, TITLES[quantity], amounts, times, device=bench.device.type)


def step_of(bench: Bench, name: str, quantity: str, size: int) -> TrainingStep:
    """A row's step with one quantity of the small profile changed; all levels of a graph grow alike."""
    config, replace = bench.small, msgspec.structs.replace
    nodes = [count * size // config.graph.nodes[0] for count in config.graph.nodes]
    changed = {
        "batch": {},
        "image_size": {"data": replace(config.data, image_size=size)},
        "nodes": {"graph": replace(config.graph, nodes=nodes)},
        "queue": {"contrast": replace(config.contrast, queue=size)},
    }[quantity]
    images = size if quantity == "batch" else config.train.batch_size
    return training_step(bench, name, replace(config, **changed), images)


def preparation(bench: Bench) -> Iterator[Growth]:
    """The data stage after rendering, on the same images once, twice and more times."""
    out = bench.folder / "prepared"
    works, samples = [], []
    for copies in COPIES:
        dataset = repeat_images(bench.dataset, bench.folder / f"images-{copies}", "train", copies)
        works.append(lambda dataset=dataset: _prepare(bench, dataset, out))
        works[-1]()
        samples.append(sum(read_manifest(out).rows))
    times = alternate(*works, rounds=bench.turns(3), warm_up=0)
    yield growth("preparation", "samples", samples, times, about={"cores": bench.cores})


def _prepare(bench: Bench, dataset: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    bench.prepare(bench.small, out, dataset)
