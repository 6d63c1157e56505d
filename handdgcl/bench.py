"""`python -m handdgcl.bench`: how fast, as ratios to bare work; writes bench.json and bench.md."""

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import simplejpeg
import torch
from dvc.utils.hydra import compose_and_dump
from msgspec.structs import replace
from torch import Tensor, nn

from handdgcl import tracking
from handdgcl.config import Config, Splits, load_config
from handdgcl.data.batch import DrawnBatch, augment, with_joints
from handdgcl.data.crop import warp_crop
from handdgcl.data.interhand import read_split
from handdgcl.data.loader import evenly, open_store, train_batches
from handdgcl.data.part import JPEG_QUALITY, PART_SIZE
from handdgcl.data.prepare import prepare_split
from handdgcl.data.store import Store
from handdgcl.evaluate.run import output_errors
from handdgcl.files import write_file, write_json
from handdgcl.hands import Hands, load_hands
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.metrics import error_table, means
from handdgcl.model.network import HandDGCL
from handdgcl.project import project_root
from handdgcl.render import write_dataset
from handdgcl.rows import get_row
from handdgcl.train.module import TrainingModule

PROFILES = ("gpu", "default")
BATCH = {"cpu": 8, "cuda": 32}  # images of the large model
SAMPLES, GENERATED = 256, 128  # images loaded and images generated in each round
Figure = tuple[str, np.ndarray, str, float]  # title, a value for each round, and the bar: "≤" or "≥", value
encode = lambda image: simplejpeg.encode_jpeg(image, JPEG_QUALITY, "RGB", "444")


def alternate(*works: Callable[[], object], rounds: int) -> np.ndarray:
    """`[W, rounds]` seconds of works by turns, so that a slow moment slows all; a round before warms up."""
    times = []
    for work in works * (1 + rounds):
        start = perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return np.reshape(times, (1 + rounds, len(works)))[1:].T


@dataclass
class Bench:
    """What all figures share."""

    large: Config  # the profile `gpu`, with a batch that any machine holds
    small: Config  # the profile `default`
    hands: Hands  # on the CPU
    dataset: Path  # rendered images
    folder: Path  # for temporary files
    device: torch.device  # of the models
    rounds: int = 7

    def store(self, config: Config, name: str = "") -> Store:
        """The training images as a profile has them, not decoded; a store that is there is used again."""
        folder = self.folder / (name or f"{config.profile}-{config.data.image_size}")
        prepare_split(self.dataset, "train", folder, config.data, self.hands)
        return Store(folder)

    def batches(self, store: Store, config: Config, **changed: int) -> Iterable[DrawnBatch]:
        """What a profile trains with."""
        sizes = {"batch_size": config.train.batch_size, "workers": 0} | changed
        return train_batches(store, seed=0, settings=config.augment, **sizes)


def step_on(loss: Callable[..., Tensor], model: nn.Module, config: Config) -> Callable[..., None]:
    """One step of fused Adam on a loss, in the profile's precision."""
    optimizer = torch.optim.Adam(model.parameters(), lr=config.train.lr, fused=True)
    device, half = next(model.parameters()).device.type, config.train.precision == "bf16-mixed"

    def step(*batch: DrawnBatch) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            value = loss(*batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def training_step(name: str, config: Config, bench: Bench, *, rows: bool = False) -> Callable[..., object]:
    """All that training does for a batch; with `rows` in PyTorch's own memory layout, not channels last."""
    module = TrainingModule(get_row(name), config, copy.deepcopy(bench.hands), seed=0).to(bench.device)
    module.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1, num_training_batches=1000)
    if module.dgclnet is not None and module.dgclnet.queue is not None:
        module.dgclnet.queue.index.fill_(10**6)  # full, of an image that no batch holds
    if rows:
        resnet = module.network.encoder.resnet.to(memory_format=torch.contiguous_format)
        resnet.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    step = step_on(lambda batch: module.training_step(batch, 0), module, config)
    own = next(iter(bench.batches(bench.store(config), config))).to(bench.device)
    return lambda batch=own: (step(batch), module.on_train_batch_end(None, batch, 0))


def backbone_step(config: Config, bench: Bench) -> Callable[[], None]:
    """The same backbone alone, on images that are ready."""
    backbone = ImageEncoder(config.encoder).resnet.to(bench.device)
    image = torch.randn(config.train.batch_size, 3, *[config.data.image_size] * 2, device=bench.device)
    image = image.contiguous(memory_format=torch.channels_last)
    return step_on(lambda: backbone(image).pooler_output.float().square().mean(), backbone, config)


def training(bench: Bench) -> Iterator[Figure]:
    """Steps beside the bare backbone's, waiting for data beside training, half precision beside full."""
    small = {"baseline": 1.5, "attention": 2.5, "similarity": 2.0}
    for config, bars in ((bench.large, {"baseline": 1.08, "similarity": 1.2}), (bench.small, small)):
        for name, bar in bars.items():
            step, row = training_step(name, config, bench), get_row(name)
            ours, bare = alternate(step, backbone_step(config, bench), rounds=2 * bench.rounds)
            yield f"{config.profile} profile: step, {row.title} ÷ its bare backbone's", ours / bare, "≤", bar
        wait, train = waiting(bench, config, step)
        yield f"{config.profile} profile: waiting for data ÷ training, {row.title}", wait / train, "≤", 0.02
    plain = replace(bench.large, train=replace(bench.large.train, precision="32-true"))
    step = training_step("baseline", bench.large, bench)
    half, full = alternate(step, training_step("baseline", plain, bench, rows=True), rounds=bench.rounds)
    yield "training step, bfloat16 channels-last ÷ float32 contiguous", half / full, "≤", 0.55


def waiting(bench: Bench, config: Config, step: Callable[[DrawnBatch], None]) -> np.ndarray:
    """`[2, rounds]` seconds of waiting for batches and of training with them, four of each a round."""
    store = bench.store(config)
    if config is bench.small:  # the images of a large run would not fit decoded
        store = open_store(store.folder)
    loader = bench.batches(store, config, workers=min(config.data.workers, tracking.machine()["cores"]))
    batches, current = chain.from_iterable(repeat(loader)), []
    wait = lambda: current.append(next(batches).to(bench.device))
    times = alternate(wait, lambda: step(current.pop()), rounds=4 * bench.rounds)
    return times.reshape(2, bench.rounds, 4).sum(-1)


@torch.inference_mode()
def inference(bench: Bench) -> Iterator[Figure]:
    """The large network from pixels to meshes and to errors, in float32."""
    config, hands = bench.large, copy.deepcopy(bench.hands).to(bench.device)
    network = HandDGCL(config.encoder, config.graph, hands, pretrained=False).eval().to(bench.device)
    store = bench.store(config)
    rows = range(min(4 * config.train.batch_size, len(store)))
    pixels = store.images(rows).to(bench.device)
    ready = network.encoder.normalise(pixels)

    def evaluate() -> dict[str, float]:
        batch = with_joints(store.batch(rows).to(bench.device), hands)
        errors = output_errors(network(batch.image), batch, hands)
        return means(error_table(errors, store.table.iloc[: len(rows)]))

    predict, backbone = lambda: network(pixels).metric_vertices(), lambda: network.encoder.resnet(ready)
    ours, bare = alternate(predict, backbone, rounds=bench.rounds)
    yield "inference, image to both meshes ÷ bare backbone's forward pass", ours / bare, "≤", 1.05
    ours, bare = alternate(evaluate, lambda: network(pixels), rounds=bench.rounds)
    yield "evaluation, all position errors ÷ bare forward pass of the network", ours / bare, "≤", 1.1


def data(bench: Bench) -> Iterator[Figure]:
    """Speeds: of loading and preparing beside libraries' bare work, and of the generator."""
    config, hands, out = bench.large, copy.deepcopy(bench.hands).to(bench.device), bench.folder / "timed"
    store = bench.store(config)
    images = store.images(evenly(len(store), SAMPLES)).permute(0, 2, 3, 1).numpy()
    jpegs, batches = list(map(encode, images)), bench.batches(store, config, batch_size=32, images=SAMPLES)
    load = lambda: [augment(batch.to(bench.device), hands) for batch in batches]
    ours, bare = alternate(load, lambda: list(map(simplejpeg.decode_jpeg, jpegs)), rounds=bench.rounds)
    yield "store to augmented batches ÷ bare JPEG decoding", bare / ours, "≥", 0.8
    new = lambda: shutil.rmtree(out, ignore_errors=True)
    prepare = lambda: (new(), bench.store(config, out.name))
    ours, bare = alternate(prepare, bare_preparation(bench, store), rounds=bench.rounds)
    yield "preparation ÷ bare decoding, cutting and encoding", bare / ours, "≥", 0.8
    generate = replace(bench.small.generate, images=Splits(train=GENERATED, val=1, test=1))
    render = lambda: (new(), write_dataset(out, generate, bench.hands, workers=1))
    (seconds,) = alternate(render, rounds=bench.rounds)
    yield "generator, one process: images per second", len(list(out.rglob("*.jpg"))) / seconds, "≥", 40


def bare_preparation(bench: Bench, store: Store) -> Callable[[], None]:
    """Decoding, cutting and encoding the images of a store, with the crops that it was made by."""
    selection = read_split(bench.dataset, "train")
    rows = selection.table.set_index("image_id").index.get_indexer(store.table.image_id)
    whole = np.linalg.inv(selection.views.intrinsics[selection.view[rows]])
    crops = (store.intrinsics(range(len(store))).numpy() @ whole)[:, :2]  # [N,2,3]

    def one(name: str, crop: np.ndarray) -> None:
        image = simplejpeg.decode_jpeg((selection.images / name).read_bytes())
        encode(warp_crop(image, crop, size=store.size))

    pool = ThreadPoolExecutor(max(bench.large.data.workers, 1))
    return lambda: list(pool.map(one, store.table.file_name, crops))


def write_results(folder: Path, figures: list[Figure]) -> None:
    """bench.json and bench.md, with commit, machine and versions beside the numbers."""
    about = {"commit": tracking.commit(), **tracking.machine(), **tracking.versions()}
    records = []
    for title, rounds, sign, bar in figures:
        low, median, high = np.percentile(rounds, (25, 50, 75)).tolist()
        record = {"figure": title, "lower quartile": low, "median": median, "upper quartile": high}
        met = median <= bar if sign == "≤" else median >= bar
        records.append(record | {"bar": f"{sign} {bar:g}", "met": met, "rounds": rounds.tolist()})
    write_json(folder / "bench.json", about | {"figures": records})
    table = pd.DataFrame(records).drop(columns="rounds").to_markdown(index=False, floatfmt=".4g")
    line = ", ".join(f"{name} {value}" for name, value in about.items())
    write_file(folder / "bench.md", f"{table}\n\nMedians over rounds; {line}.\n")


def open_bench(folder: Path, root: Path) -> Bench:
    """The profiles as `dvc exp run -S profile=NAME` composes them, and images for one part for each core."""
    for name in PROFILES:
        file = str(folder / f"{name}.yaml")
        compose_and_dump(file, str(root / "conf"), None, "config", str(root), [f"profile={name}"])
    large, small = (load_config(folder / f"{name}.yaml") for name in PROFILES)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    large = replace(large, train=replace(large.train, batch_size=BATCH[device.type]))
    cores, hands, dataset = tracking.machine()["cores"], load_hands(large.data.hands), folder / "interhand"
    generate = replace(large.generate, images=Splits(train=PART_SIZE * cores, val=1, test=1))
    write_dataset(dataset, generate, hands, workers=cores)
    return Bench(large, small, hands, dataset, folder, device)


def main() -> None:
    """Measure everything."""
    cv2.setNumThreads(1)  # as the bare work, which goes image by image
    figures, root = [], project_root()
    with tempfile.TemporaryDirectory(prefix="handdgcl-bench-") as folder:
        bench = open_bench(Path(folder), root)
        for figure in chain(training(bench), inference(bench), data(bench)):
            figures.append(figure)
            print(f"{figure[0]}: {np.median(figure[1]):.4g}", flush=True)
            write_results(root / "reports" / "bench", figures)


if __name__ == "__main__":
    main()
