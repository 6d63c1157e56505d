"""What a run of the `paper` profile will take on GPUs: computed, not measured.

Counted on small steps of the profile's own model: the operations of convolutions and matrix products, and
the bytes that autograd keeps for the backward pass. Assumed: how fast a GPU does them, and how fast
gradients travel.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import msgspec
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from handdgcl import provenance
from handdgcl.atomic import replacing, write_json
from handdgcl.bench.bench import CPU, profile, random_batch
from handdgcl.bench.measure import BYTES_PER_GB
from handdgcl.bench.steps import FULL, PLAIN, TrainingStep
from handdgcl.config import Config, load_config
from handdgcl.hands import load_hands
from handdgcl.rows import ROWS, get_row

IMAGES = 366_358  # training images by IntagHand's selection; the paper: "366K"
GPUS = (1, 4)
PEAK_TFLOPS = {"RTX 2080 Ti": 13.4, "A100": 19.5, "H100 SXM": 67.0}  # float32, NVIDIA's data sheets
SHARES = (0.1, 0.5)  # of the peak, sustained over an epoch: an assumption
BANDWIDTH = (8e9, 200e9)  # bytes/s of gradients between GPUs, PCIe 3.0 to NVLink: an assumption
PAPER_SECONDS, PAPER_GPUS, PAPER_GPU = 2 * 86400, 4, "RTX 2080 Ti"  # section 4.1: "about 2 days"
COUNTED = (2, 3)  # images of the two steps that are counted; both costs are lines in their number
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Load:
    """What one process does and holds in one training step.

    Attributes:
        flops: operations of the convolutions and matrix products, forward and backward.
        saved: bytes that autograd keeps for the backward pass, weights and buffers aside.
    """

    flops: float
    saved: float


@dataclass(frozen=True)
class Model:
    """Bytes that do not depend on the batch.

    Attributes:
        weights: parameters and buffers: both networks, queue.
        trained: the parameters that get gradients.
    """

    weights: int
    trained: int

    def states(self, gpus: int) -> int:
        """Bytes of one process: weights, gradients, Adam's two moments; of several, gradient buckets too."""
        return self.weights + self.trained * (3 if gpus == 1 else 4)


def count(step: Callable[[], object], module: nn.Module) -> Load:
    """Operations and saved bytes of one call of `step`, which trains `module`."""
    own = set(_storages([*module.parameters(), *module.buffers()]))
    saved: dict[int, int] = {}
    kept = []  # alive until the end, so that no address is given twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        saved.update(_storages([tensor]))
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    total = sum(size for address, size in saved.items() if address not in own)
    return Load(float(counter.get_total_flops()), float(total))


def _storages(tensors: list[Tensor]) -> dict[int, int]:
    """Address -> bytes; several tensors may share one."""
    stores = [tensor.untyped_storage() for tensor in tensors]
    return {store.data_ptr(): store.nbytes() for store in stores}


def model_bytes(module: nn.Module) -> Model:
    """What a module's tensors take."""
    every = sum(_storages([*module.parameters(), *module.buffers()]).values())
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return Model(every, sum(parameter.nbytes for parameter in trained))


def on_line(loads: dict[int, Load], images: int) -> Load:
    """The load of a step of so many images, on the line through two counted ones (`{images: load}`)."""
    (first, low), (second, high) = loads.items()
    place = (images - first) / (second - first)
    at = lambda a, b: a + place * (b - a)
    return Load(at(low.flops, high.flops), at(low.saved, high.saved))


def all_reduce_bytes(trained: int, gpus: int) -> float:
    """What each GPU sends in one step: a ring's 2 (n - 1) / n of the gradients."""
    return 2 * (gpus - 1) / gpus * trained


def hours(load: Load, model: Model, config: Config, *, gpus: int, rate: float, bandwidth: float) -> float:
    """A run's hours: compute, then gradients, one after the other.

    Args:
        load: of one process and step.
        model: the bytes to average.
        config: epochs and batch of one process.
        gpus: processes; each has a batch of its own.
        rate: operations per second of one.
        bandwidth: bytes per second of one.
    """
    seconds = load.flops / rate + all_reduce_bytes(model.trained, gpus) / bandwidth
    return _steps(config, gpus) * seconds / SECONDS_PER_HOUR


def _steps(config: Config, gpus: int) -> int:
    return config.train.epochs * (IMAGES // (config.train.batch_size * gpus))


def write_estimate(out: Path, folder: Path) -> str:
    """Leave estimate.json and estimate.md in `out`; `folder` is scratch. Returns the text."""
    config = load_config(profile("paper", folder))
    load, model = counted(config)
    record = estimate(load, model, config) | {"commit": provenance.commit()}
    write_json(out / "estimate.json", record)
    text = as_text(record)
    with replacing(out / "estimate.md") as path:
        path.write_text(f"{text}\n")
    return text


def counted(config: Config) -> tuple[Load, Model]:
    """Load of one process and bytes of the model, DGCLNet*; random weights and the open hand are as large."""
    encoder = msgspec.structs.replace(config.encoder, weights="random")
    config, hands = msgspec.structs.replace(config, encoder=encoder), load_hands("open")
    loads = {}
    for images in COUNTED:
        raw = random_batch(images, config.data.image_size, hands, CPU)
        step = TrainingStep(FULL, config, hands, raw, precision=PLAIN)
        loads[images] = count(step, step.module)
    return on_line(loads, config.train.batch_size), model_bytes(step.module)


def estimate(load: Load, model: Model, config: Config) -> dict:
    """All of it as a record: what was counted, what is assumed, what follows."""
    batch, epochs = config.train.batch_size, config.train.epochs
    paper = load.flops / batch * IMAGES * epochs / (PAPER_SECONDS * PAPER_GPUS)
    rows = []
    for (gpu, peak), gpus in product(PEAK_TFLOPS.items(), GPUS):
        slow, fast = (
            hours(load, model, config, gpus=gpus, rate=share * peak * 1e12, bandwidth=bandwidth)
            for share, bandwidth in zip(SHARES, BANDWIDTH, strict=True)
        )
        images = _steps(config, gpus) * batch * gpus / SECONDS_PER_HOUR
        rows.append(
            {
                "gpu": gpu,
                "gpus": gpus,
                "hours": [fast, slow],
                "images_per_second": [images / slow, images / fast],
                "gigabytes_each": (model.states(gpus) + load.saved) / BYTES_PER_GB,
            }
        )
    return {
        "kind": "computed, not measured",
        "row": get_row(FULL).title,
        "profile": config.profile,
        "runs": len(ROWS) * len(config.seeds),
        "counted": {
            "images": IMAGES,
            "epochs": epochs,
            "batch": batch,
            "gigaflops_per_image": load.flops / batch / 1e9,
            "saved_megabytes_per_image": load.saved / batch / 1e6,
            "model": asdict(model) | {"states": model.states(1)},
            "all_reduce_megabytes_per_step": all_reduce_bytes(model.trained, max(GPUS)) / 1e6,
        },
        "assumed": {"peak_tflops": PEAK_TFLOPS, "share_of_peak": SHARES, "bytes_per_second": BANDWIDTH},
        "paper": {"tflops": paper / 1e12, "share_of_peak": paper / (PEAK_TFLOPS[PAPER_GPU] * 1e12)},
        "estimates": rows,
    }


def as_text(record: dict) -> str:
    """estimate.md."""
    lines = [
        f"**Computed, not measured**: one run of {record['row']}, profile `{record['profile']}`. "
        f"The study is {record['runs']} runs, none larger.",
        "",
        "| GPU | number | hours | images/s that the loader must give | GB on each, at least |",
        "|---|---|---|---|---|",
    ]
    for row in record["estimates"]:
        times, rates = (" to ".join(map(_short, row[key])) for key in ("hours", "images_per_second"))
        cells = (row["gpu"], str(row["gpus"]), times, rates, f"{row['gigabytes_each']:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_basis(record["counted"], record["assumed"], record["paper"])])


def _basis(found: dict, assumed: dict, paper: dict) -> list[str]:
    """What the estimate rests on, a line for each kind."""
    total = found["gigaflops_per_image"] * 1e9 * found["images"] * found["epochs"]
    low, high = (f"{share:.0%}" for share in assumed["share_of_peak"])
    slow, fast = (f"{speed / BYTES_PER_GB:.0f}" for speed in assumed["bytes_per_second"])
    peaks = ", ".join(f"{gpu} {peak:g}" for gpu, peak in assumed["peak_tflops"].items())
    return [
        f"Counted: {found['gigaflops_per_image']:.1f} GFLOP for an image (convolutions and matrix "
        f"products, forward and backward), {found['images']:,} images (the papers' count), "
        f"{found['epochs']} epochs: {total:.2g} FLOP. Memory: {found['model']['states'] / BYTES_PER_GB:.2f} "
        "GB of weights, queue, gradients and Adam's moments (on several GPUs the gradients once more) and "
        f"{found['saved_megabytes_per_image']:.0f} MB kept for the backward pass of each of "
        f"{found['batch']} images.",
        f"Assumed: a GPU sustains {low} to {high} of its float32 peak ({peaks} TFLOP/s); gradients, "
        f"{found['all_reduce_megabytes_per_step']:.0f} MB sent by each of {max(GPUS)} GPUs in a step, "
        f"travel at {slow} to {fast} GB/s while nothing is computed.",
        "Left out: TensorFloat-32, waiting for images, validation; of memory, the CUDA context, workspaces "
        "and the gradients of activations, so it is a least value.",
        f"The paper's own 2 days on {PAPER_GPUS} {PAPER_GPU} are {paper['tflops']:.2f} TFLOP/s on each by "
        f"this count, {paper['share_of_peak']:.0%} of the peak: slower than all that is assumed here.",
    ]


def _short(value: float) -> str:
    """Two digits: no estimate has more."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
