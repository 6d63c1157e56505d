"""The study's parameters: one typed record per section of `params.yaml`.

`msgspec` refuses an unknown key, a missing key and a wrong type, and names where it stands.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from handdgcl.files import InputError

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Weight = Annotated[float, Meta(ge=0)]
# PyTorch 2.13 computes wrong gradients of strided convolutions of 4 channels where a CPU has AVX2 alone.
Width = Annotated[int, Meta(ge=8, multiple_of=8)]
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
    seed: int


class Data(_Section):
    """Reading, selection and crop (IntagHand's protocol)."""

    source: str  # "generated", or the folder that holds InterHand2.6M's images/ and annotations/
    hands: str  # "open", or the folder that holds MANO_LEFT.pkl and MANO_RIGHT.pkl
    image_size: Annotated[int, Meta(ge=32)]  # S, side of the square crop in px
    fill: Share  # share of the crop that the projected hands fill
    min_brightness: Weight  # darker images (mean of 0..255) are dropped
    max_unreadable: Share  # preparation fails above this share of unreadable images
    workers: Annotated[int, Meta(ge=0)]  # processes that generate and load, threads that prepare; 0 = none
    max_dropped: Share = 0.1  # it fails above this share dropped by one rule that asks for pixels or vertices


class Augment(_Section):
    """IntagHand's training augmentation, on image and geometry together."""

    rotation_deg: Weight  # uniform in +- this
    scale: Share  # uniform in 1 +- this
    flip: Share  # probability of a mirror image, which swaps the hands


class Encoder(_Section):
    """The image encoder, a ResNet of `transformers`."""

    weights: str  # "random", or a pretrained ResNet's hub name or local folder, of the sizes below
    layer: Literal["basic", "bottleneck"]
    stem: Width
    widths: list[Width]
    depths: list[Count]


class Graph(_Section):
    """The mesh hierarchy and the Chebyshev GCN on it."""

    nodes: list[Count]  # coarse to fine, e.g. [63, 252]; the full mesh follows
    eigenvectors: Count  # of the Laplacian, that embed the nodes
    features: Count  # F of G
    layers: Count  # Chebyshev layers at the coarsest level
    features_k: Count  # features of G_k, fewer than F
    order: Count  # Chebyshev terms of each layer
    hidden: Count  # width of the per-hand MLP


class UNet(_Section):
    """F_gen, the graph U-Net; its strength alpha is `disturb.unet`."""

    features: Count  # hidden width; below F it is a bottleneck for all that passes
    keep: list[Share]  # share of nodes kept by each pooling


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
    cross: float  # of L_cross beside L_self in lambda 7's bracket; -1: eq. 11 as printed


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


class Config(_Section):
    """Everything a run depends on."""

    profile: str  # its name; also the folder of its runs
    reports: str  # folder of its results, from the project's root
    seeds: list[int]
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


def load_config(path: str | Path) -> Config:
    """Read a parameter file.

    Raises:
        InputError: the file is missing or not YAML, or a parameter is unknown, missing, of a wrong
            type or out of range; the message names the file and the parameter.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text())
        return msgspec.convert(raw, Config)
    except FileNotFoundError:
        raise InputError(f"{path}: no such parameter file; run from the project's root or name it") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error} (the parameters and their meaning: handdgcl/config.py)") from error


def to_dict(config: Config) -> dict:
    """The parameters as plain nested dictionaries, for logs and checkpoints."""
    return msgspec.to_builtins(config)


def from_dict(raw: dict) -> Config:
    """The inverse of `to_dict`."""
    return msgspec.convert(raw, Config)
