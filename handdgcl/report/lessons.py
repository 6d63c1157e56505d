"""The pictures of the notebooks: samples, predictions, disturbed graphs, kept nodes, similarity."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from handdgcl.data.batch import RawBatch, finish
from handdgcl.data.camera import project
from handdgcl.evaluate import load_model
from handdgcl.hands import Hands
from handdgcl.hands.solid import pair_contact, sealed_faces
from handdgcl.hands.topology import RIGHT
from handdgcl.model.graph import build_hierarchy
from handdgcl.report.overlay import draw_hands, draw_skeletons, weak_perspective

MM_PER_M = 1000
PICTURE_PX = 256  # side of one picture


def draw_samples(raw: RawBatch, hands: Hands) -> Figure:
    """Each sample's image, its skeleton and its mesh, projected by the crop's own camera."""
    batch = finish(raw, hands)
    points_2d = project(batch.vertices, raw.intrinsics[:, None])
    zoom = PICTURE_PX / batch.image.shape[-1]
    columns = []
    for k, picture in enumerate(pictures(batch.image)):
        skeleton = draw_skeletons(picture, zoom * batch.joints_2d[k])
        mesh = draw_hands(picture, zoom * points_2d[k], batch.vertices[k], hands.faces, opacity=0.8)
        columns.append((picture, skeleton, mesh))
    return _mosaic(columns, ("image", "skeleton", "mesh"))


@torch.inference_mode()
def draw_predictions(checkpoint: Path, raw: RawBatch) -> Figure:
    """Each image, its true hands, and the predicted ones where the predicted camera sees them."""
    network, hands, _, _ = load_model(checkpoint)
    batch = finish(raw, hands)
    output = network(batch.image)
    views = [
        (project(batch.vertices, raw.intrinsics[:, None]), batch.vertices),
        (weak_perspective(output), output.metric_vertices()),
    ]
    zoom = PICTURE_PX / batch.image.shape[-1]
    columns = [
        (picture, *(draw_hands(picture, zoom * p[k], v[k], hands.faces, opacity=0.8) for p, v in views))
        for k, picture in enumerate(pictures(batch.image))
    ]
    return _mosaic(columns, ("image", "truth", "prediction"))


def contact_table(vertices: Tensor, hands: Hands) -> pd.DataFrame:
    """Penetration and distance of each pair of hands, `[B, H, V, 3]` metres: penetration_mm, distance_mm."""
    faces = sealed_faces(hands)
    return pd.DataFrame([pair_contact(pair, faces) for pair in (vertices * MM_PER_M).double().numpy()])


def draw_histograms(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """One histogram for each column that `labels` gives a name to."""
    figure, axes = _grid(1, len(labels), width=3, height=2.4)
    for ax, (column, label) in zip(axes[0], labels.items(), strict=True):
        ax.hist(table[column].dropna(), bins=30, color="tab:blue")
        ax.set(xlabel=label, ylabel="samples")
    return figure


def draw_curves(curves: dict[str, pd.DataFrame], columns: dict[str, str]) -> Figure:
    """Columns of the runs' curves against the epoch, one panel each; a run without a column is left out."""
    figure, axes = _grid(1, len(columns), width=3.2, height=2.5)
    for ax, (column, label) in zip(axes[0], columns.items(), strict=True):
        for number, (name, table) in enumerate(curves.items()):
            if column in table:  # its colour is the run's, whichever others have the column
                ax.plot(table["epoch"], table[column], marker=".", label=name, color=f"C{number}")
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].legend()
    return figure


def draw_disturbance(
    before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], places: np.ndarray
) -> Figure:
    """G beside its disturbed copy: the two graphs on the hand, the two feature matrices.

    Args:
        before, after: features `[N, F]` and adjacency `[N, N]` of one hand.
        places: `[N, 2]`, see `node_places`.
    """
    figure, axes = _grid(1, 4, width=3, height=3)
    axes = axes[0]
    (features, adjacency), (disturbed, changed) = before, after
    draw_graph(axes[0], adjacency, places)
    axes[0].set_title("graph of the first branch")
    draw_graph(axes[1], changed, places, reference=adjacency)
    added, removed = (_count(changed > adjacency), _count(changed < adjacency))
    axes[1].set_title(f"second branch: +{added} -{removed} edges")
    limit = float(features.abs().max())
    for ax, matrix, title in ((axes[2], features, "G"), (axes[3], disturbed, "disturbed G")):
        ax.imshow(matrix.numpy(), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        ax.set(title=title, xlabel="feature", ylabel="node")
    return figure


def draw_graph(ax: Axes, adjacency: Tensor, places: np.ndarray, *, reference: Tensor | None = None) -> None:
    """Nodes and edges; against a reference, added edges are green and removed ones red."""
    reference = adjacency if reference is None else reference
    for mask, color, width in (
        ((adjacency > 0) & (reference > 0), "0.6", 0.8),
        ((adjacency > 0) & (reference == 0), "tab:green", 0.6),
        ((adjacency == 0) & (reference > 0), "tab:red", 1.0),
    ):
        edges = torch.nonzero(mask.triu(1)).numpy()
        _lines(ax, places, edges, color=color, width=width)
    ax.scatter(*places.T, s=8, color="black", zorder=3)
    ax.set_aspect("equal")
    ax.axis("off")


def draw_kept(kept: list[Tensor], adjacency: Tensor, places: np.ndarray) -> Figure:
    """The share of hands for which each pooling of the graph U-Net keeps each node.

    Args:
        kept: per pooling `[B, N]`, whether the node is still there.
        adjacency: `[N, N]`.
        places: `[N, 2]`.
    """
    figure, axes = _grid(1, len(kept), width=3.4, height=3)
    for level, (ax, mask) in enumerate(zip(axes[0], kept, strict=True)):
        draw_graph(ax, adjacency, places)
        share = mask.float().mean(0).numpy()
        marks = ax.scatter(*places.T, c=share, s=45, vmin=0, vmax=1, cmap="viridis", zorder=4)
        ax.set_title(f"pooling {level + 1}: {int(mask[0].sum())} of {mask.shape[1]} nodes")
    figure.colorbar(marks, ax=axes, label="share of hands that keep the node")
    return figure


def node_places(hands: Hands, counts: list[int]) -> np.ndarray:
    """Where to draw the coarsest graph's nodes: `[N, 2]`, the right hand, fingers up.

    Args:
        hands: the mesh.
        counts: `graph.nodes` of the parameters.
    """
    template = hands.template[RIGHT].numpy()
    nodes = build_hierarchy(template, hands.faces[RIGHT].numpy(), counts).nodes[0]
    return template[nodes][:, [2, 0]] * np.array([1.0, -1.0])


def draw_matrices(matrices: dict[str, Tensor], *, low: float, high: float) -> Figure:
    """Similarity matrices side by side on one scale of colours."""
    figure, axes = _grid(1, len(matrices), width=3.4, height=3)
    for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        image = ax.imshow(matrix.numpy(), vmin=low, vmax=high, cmap="viridis")
        ax.set_title(title)
    figure.colorbar(image, ax=axes)
    return figure


def verdict(claim: str, *, matches: bool, because: str, within_noise: bool = False) -> str:
    """One sentence: match or no match with the paper, and the number that says so.

    Args:
        claim: the paper's.
        matches: whether our number has the paper's sign or size.
        because: the number.
        within_noise: the number is too small to say either (`validation.validation_difference`).
    """
    answer = "WITHIN NOISE, so it cannot be compared" if within_noise else "MATCH" if matches else "NO MATCH"
    return f"{answer} with the paper's claim that {claim}: {because}"


def pictures(image: Tensor) -> np.ndarray:
    """`[B, 3, S, S]` uint8 → `[B, P, P, 3]` uint8, P = PICTURE_PX, so that lines are fine."""
    image = functional.interpolate(image, size=(PICTURE_PX, PICTURE_PX), mode="nearest")
    return image.permute(0, 2, 3, 1).numpy()


def _mosaic(columns: list[tuple[np.ndarray, ...]], titles: tuple[str, ...]) -> Figure:
    """Pictures of equal kind in rows, of equal sample in columns."""
    figure, axes = _grid(len(titles), len(columns), width=1.9, height=1.9)
    for column, kinds in enumerate(columns):
        for ax, picture, title in zip(axes[:, column], kinds, titles, strict=True):
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[], ylabel=title if column == 0 else None)
    return figure


def _grid(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure without pyplot, so that a notebook shows it once, and its axes `[rows, columns]`."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _lines(ax: Axes, points: np.ndarray, pairs: np.ndarray, *, color: str, width: float) -> None:
    ax.add_collection(LineCollection(points[pairs], colors=color, linewidths=width))


def _count(mask: Tensor) -> int:
    return int(mask.sum()) // 2
