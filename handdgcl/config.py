"""The study's parameters: one typed record per section of `params.yaml`.

`msgspec` refuses an unknown key, a missing key and a wrong type, and names where it stands.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from handdgcl.files import InputError, regular

MOST = 1e6  # of a rate, weight, strength; also refuses infinity
Count = Annotated[int, Meta(ge=1, le=2**31)]
Size = Annotated[int, Meta(ge=1, le=2**14)]  # of a layer
Share = Annotated[float, Meta(ge=0, le=1)]
Kept = Annotated[float, Meta(gt=0, le=1)]  # a share that is not nothing
Positive = Annotated[float, Meta(gt=0, le=MOST)]
Weight = Annotated[float, Meta(ge=0, le=MOST)]
# PyTorch 2.13 computes wrong gradients of strided convolutions of 4 channels where a CPU has AVX2 alone.
Width = Annotated[int, Meta(ge=8, le=2**14, multiple_of=8)]
Similarity = Literal["centred", "cosine", "dot"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: immutable and strict."""


class Splits(_Section):
    """One count for each split."""

    train: Count
    val: Count
    test: Count


class Generate(_Section):
    """The embedded data set, written in InterHand2.6M's layout."""

    images: Splits  # rendered images, at least
    subjects: Splits  # hand shapes; no subject is in two splits
    cameras: Count  # views of one frame
    interacting: Share  # least share of samples whose hands overlap in the image or touch
    seed: Annotated[int, Meta(ge=0)]
    azimuth_deg: Annotated[float, Meta(ge=0, le=180)] = (
        20.0  # cameras stand so far to either side of the front
    )
    roll_deg: Annotated[float, Meta(ge=0, le=180)] = (
        5.0  # they are turned about their axes (standard deviation)
    )
    twins: bool = False  # each image again with either hand alone, for rows that learn to remove the other


class Data(_Section):
    """Reading, selection and crop (IntagHand's protocol)."""

    source: str  # "generated", or the folder that holds InterHand2.6M's images/ and annotations/
    hands: str  # "open", or the folder that holds MANO_LEFT.pkl and MANO_RIGHT.pkl
    image_size: Annotated[int, Meta(ge=32, le=4096)]  # S, side of the square crop in px
    fill: Kept  # share of the crop that the projected hands fill
    min_brightness: Weight  # darker images (mean of 0..255) are dropped
    max_unreadable: Share  # preparation fails above this share of unreadable images
    # Processes that generate, that load (of each training process, twice), threads that prepare; 0 = none.
    workers: Annotated[int, Meta(ge=0)]
    max_dropped: Share = 0.1  # it fails above this share dropped by one rule that asks for pixels or vertices
    max_dark: Share = 0.5  # or by `min_brightness`, a rule of the benchmark's own


class Augment(_Section):
    """IntagHand's training augmentation, on image and geometry together."""

    rotation_deg: Weight  # uniform in +- this
    scale: Annotated[float, Meta(ge=0, lt=1)]  # uniform in 1 +- this
    flip: Share  # probability of a mirror image, which swaps the hands


class Encoder(_Section):
    """The image encoder, a ResNet of `transformers`."""

    weights: str  # "random", or a pretrained ResNet's hub name or local folder, of the sizes below
    layer: Literal["basic", "bottleneck"]
    stem: Width
    widths: Annotated[list[Width], Meta(min_length=1, max_length=8)]
    depths: list[Annotated[int, Meta(ge=1, le=100)]]

    def __post_init__(self):
        if len(self.depths) != len(self.widths):
            raise ValueError(f"depths has {len(self.depths)} entries, widths {len(self.widths)}")


class Graph(_Section):
    """The mesh hierarchy and the Chebyshev GCN on it."""

    nodes: Annotated[list[Size], Meta(min_length=1)]  # coarse to fine, e.g. [63, 252]; the full mesh follows
    eigenvectors: Size  # of the Laplacian, that embed the nodes
    features: Size  # F of G
    layers: Size  # Chebyshev layers at the coarsest level
    features_k: Size  # features of G_k, fewer than F
    order: Size  # Chebyshev terms of each layer
    hidden: Size  # width of the per-hand MLP

    def __post_init__(self):
        if self.nodes != sorted(set(self.nodes)):
            raise ValueError(f"nodes {self.nodes}: they grow from coarse to fine")
        if self.eigenvectors >= self.nodes[0]:
            raise ValueError(f"eigenvectors {self.eigenvectors}: there are {self.nodes[0]} coarsest nodes")


class UNet(_Section):
    """F_gen, the graph U-Net; its strength alpha is `disturb.unet`."""

    features: Size  # hidden width; below F it is a bottleneck for all that passes
    keep: Annotated[list[Kept], Meta(min_length=1)]  # share of nodes kept by each pooling


class Contrast(_Section):
    """The feature-pose pool (eqs. 5, 6, 13): the batch and a queue of recent batches' Ĝ_k."""

    tau: Positive
    queue: Count  # Q
    momentum: Share  # m of the network that makes the queue's keys; 0: the keys are the batch's own Ĝ_k
    poses: Literal["true", "estimated"]  # S_g from the true joints, or from J_k without gradient
    similarity: Similarity  # cosine about the batch's mean, plain cosine, or the product as printed
    positive: Literal["both", "stop", "predictor"]  # gradient through both branches, or as in SimSiam


class Loss(_Section):
    """The paper's weights, eqs. 8, 9 and 11."""

    joints_3d: Weight  # lambda 1
    vertices_3d: Weight  # lambda 2
    joints_2d: Weight  # lambda 3
    length: Weight  # lambda 4
    consistent: Weight  # lambda 5
    transition: Weight  # lambda 6
    contrast: Weight  # lambda 7
    # of L_cross beside L_self in lambda 7's bracket; -1: eq. 11 as printed
    cross: Annotated[float, Meta(ge=-MOST, le=MOST)]


class Train(_Section):
    """Optimisation."""

    epochs: Count
    batch_size: Count  # of one process
    images: Count | None  # training images used, evenly spaced over the store; null: all
    lr: Positive
    schedule: Literal["plateau", "one-cycle"]  # plateau: the paper's
    precision: Literal["32-true", "bf16-mixed"]
    devices: Count  # processes on each machine, one per device
    nodes: Count  # machines
    deterministic: bool = True  # on a GPU; a CPU always is. False: cuDNN takes the quickest algorithm


class Config(_Section):
    """Everything a run depends on."""

    profile: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w-]*$")]  # its name; also the folder of its runs
    # Folder of its results, inside the project.
    reports: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w-]*(/[A-Za-z0-9][\w.-]*)*$")]
    seeds: Annotated[list[Annotated[int, Meta(ge=0, lt=2**32)]], Meta(min_length=1)]
    controls: list[str]  # rows outside Table 2 that are trained too
    data: Data
    generate: Generate
    augment: Augment
    encoder: Encoder
    graph: Graph
    disturb: dict[str, Weight]  # strength by name of the disturbance; others have their class's default
    unet: UNet
    contrast: Contrast
    loss: Loss
    train: Train
    families: list[str] = []  # rows of other methods' families, for Table 1
    added: list[int] = []  # of `seeds`, those that were trained when results of the others were known
    rates: dict[str, Positive] = {}  # learning rate by row, where it is not train.lr

    def __post_init__(self):
        for name in ("seeds", "controls", "families"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)}: one stands twice")
        if not set(self.added) < set(self.seeds):
            raise ValueError(f"added {self.added}: not some, but not all, of seeds {self.seeds}")


class _Loader(yaml.SafeLoader):
    """YAML without keys that stand twice, and without aliases, which can grow without end."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise yaml.YAMLError(f"an alias, line {line}: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(key) for key, _ in node.value]
        if len({str(name) for name in names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.YAMLError(f"{twice!r} stands twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-5 for text, as it has no point; JSON and people write it so.
_SHORT_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _SHORT_FLOAT, list("-+0123456789"))


def load_config(path: str | Path) -> Config:
    """Read a parameter file.

    Raises:
        InputError: the file is missing or not YAML, or a parameter is unknown, missing, of a wrong
            type or out of range; the message names the file and the parameter.
    """
    path = Path(path)
    try:
        raw = yaml.load(regular(path).read_text(encoding="utf-8"), _Loader)
        return msgspec.convert(raw, Config)
    except FileNotFoundError:
        raise InputError(f"{path}: no such parameter file; run from the project's root or name it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a parameter file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error} (the parameters and their meaning: handdgcl/config.py)") from error


def to_dict(config: Config) -> dict:
    """The parameters as plain nested dictionaries, for logs and checkpoints."""
    return msgspec.to_builtins(config)


def from_dict(raw: dict) -> Config:
    """The inverse of `to_dict`."""
    return msgspec.convert(raw, Config)
