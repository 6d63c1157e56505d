"""What all figures share: profiles, sizes, hands, one scratch folder with one rendered data set."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import msgspec
import torch
from torch.nn import functional

from handdgcl import provenance
from handdgcl.config import Config, load_config
from handdgcl.data.augment import DrawnBatch
from handdgcl.data.batch import RawBatch
from handdgcl.data.generated import write_dataset
from handdgcl.data.part import PART_SIZE
from handdgcl.data.prepare import prepare_split
from handdgcl.hands import Hands

CPU = torch.device("cpu")
LARGE, SMALL = "gpu", "default"  # profiles: ResNet-50 at 256 px, and the study's own small model
BATCH = {"cpu": 8, "cuda": 32}  # of the large model


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        large, small: parameters of the two profiles.
        parameters: the large profile as a file, for processes of their own.
        hands: on the CPU.
        folder: scratch.
        rounds: how many each figure shall take; None = its own number.
        images: in the annotation files that are read.
        device: where the models run; the next one is put here when all figures are done on one.
    """

    large: Config
    small: Config
    parameters: Path
    hands: Hands
    folder: Path
    rounds: int | None
    images: int
    device: torch.device = CPU

    @property
    def batch(self) -> int:
        """Images of one step of the large model."""
        return BATCH[self.device.type]

    def turns(self, own: int) -> int:
        """Rounds of a figure."""
        return self.rounds or own

    @cached_property
    def cores(self) -> int:
        """Cores that this process may use."""
        return provenance.machine()["cores"]

    @cached_property
    def dataset(self) -> Path:
        """A rendered data set of one part for each core, all its training images kept by the selection."""
        few = {"val": 1, "test": 1}
        generate = msgspec.structs.replace(
            self.large.generate,
            images=msgspec.convert(
                {"train": PART_SIZE * self.cores, **few}, type(self.large.generate.images)
            ),
            subjects=msgspec.convert({"train": 8, **few}, type(self.large.generate.subjects)),
        )
        write_dataset(self.folder / "interhand", generate, self.hands, workers=self.cores)
        return self.folder / "interhand"

    @cached_property
    def stores(self) -> tuple[Path, Path]:
        """The training images as the large and as the small profile prepare them."""
        return tuple(
            self.prepare(config, self.folder / f"store-{config.profile}")
            for config in (self.large, self.small)
        )

    def prepare(self, config: Config, out: Path, dataset: Path | None = None) -> Path:
        """The data stage's work on the training images of a data set (default: ours), on all cores."""
        data = msgspec.structs.replace(config.data, workers=self.cores)
        prepare_split(dataset or self.dataset, "train", out, data, self.hands)
        return out


def profile(name: str, folder: Path) -> Path:
    """A profile's parameter file, composed by DVC as `dvc exp run -S profile=NAME` does."""
    from dvc.utils.hydra import compose_and_dump  # seconds, and memory that no child needs

    path = folder / f"{name}.yaml"
    compose_and_dump(path, str(Path("conf").resolve()), None, "config", str(Path.cwd()), [f"profile={name}"])
    load_config(path)
    return path


def random_batch(count: int, size: int, hands: Hands, device: torch.device) -> DrawnBatch:
    """Noise, and the template's hands 0.8 m before the camera: as costly as any other samples."""
    random = torch.Generator().manual_seed(0)
    place = torch.tensor([[0.06, 0.0, 0.8], [-0.06, 0.0, 0.8]])[:, None]
    vertices = hands.template + place + 0.01 * torch.randn(count, len(place), 1, 3, generator=random)
    focal = torch.tensor([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]])
    image = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=random)
    batch = DrawnBatch(
        image=image.permute(0, 3, 1, 2),
        vertices=vertices,
        intrinsics=focal.expand(count, 3, 3),
        index=torch.arange(count),
        rotation=torch.eye(2).repeat(count, 1, 1),
        scale=torch.ones(count),
    )
    return moved(batch, device)


def moved(batch: RawBatch, device: torch.device) -> RawBatch:
    """A batch on another device."""
    return type(batch)(**{name: value.to(device) for name, value in vars(batch).items()})


def random_directions(like: torch.Tensor) -> torch.Tensor:
    """Unit vectors, as many and as long as `[N, D]`."""
    return functional.normalize(torch.randn_like(like), dim=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """No threads of torch's and OpenCV's own."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
