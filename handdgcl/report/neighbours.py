"""The notebooks' pictures of features: what lies near what, in feature space and among the poses."""

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from handdgcl.data.batch import finish
from handdgcl.data.store import Store
from handdgcl.evaluate.branches import Features
from handdgcl.evaluate.features import Looked, nearest, off_diagonal, similarities
from handdgcl.hands import Hands
from handdgcl.model.contrast import embed
from handdgcl.report.lessons import PICTURE_PX, pictures
from handdgcl.report.overlay import draw_skeletons

_ORANGE, _BLUE, _GREY = "#d55e00", "#0072b2", "#999999"  # Okabe and Ito's, colour-blind safe
_PROBES = {"probe_none_mm": "mean pose", "probe_graph_mm": "from $G$", "probe_disturbed_mm": r"from $\hat G$"}


def draw_probe(measured: dict[str, float]) -> Figure:
    """Error of the linear readout of the pose from nothing, from G and from its disturbed copy."""
    figure = Figure(figsize=(6, 1.8), layout="constrained")
    axis = figure.subplots()
    values = [measured[name] for name in _PROBES]
    bars = axis.barh(list(_PROBES.values()), values, color=(_GREY, _BLUE, _ORANGE))
    axis.bar_label(bars, fmt="%.1f", padding=3)
    axis.invert_yaxis()
    axis.set(xlabel="error of a linear readout of the pose, mm", xlim=(0, 1.12 * max(values)))
    return figure


def draw_branches(seen: Features) -> Figure:
    """An image and its own disturbed copy beside two images: distance of G and G^, cosine of G_k and G^_k."""
    graph, disturbed = seen.graph.flatten(1), seen.disturbed.flatten(1)
    key, other = embed(seen.graph_k), embed(seen.disturbed_k)
    length = graph.norm(dim=1)
    panels = {
        "distance of $G$, over its length": (
            (disturbed - graph).norm(dim=1) / length,
            torch.cdist(graph, graph) / length,
        ),
        "cosine of $G_k$, about the mean": ((key * other).sum(1), key @ other.T),
    }
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    for axis, (name, (own, others)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        own, others = own.numpy(), off_diagonal(others)
        bins = np.linspace(min(own.min(), others.min()), max(own.max(), others.max()) + 1e-6, 50)
        axis.hist(others, bins, density=True, color=_BLUE, alpha=0.6, label="two images")
        axis.hist(own, bins, density=True, color=_ORANGE, alpha=0.8, label="an image and its disturbed copy")
        axis.set(xlabel=name, ylabel="density", yscale="log")
        axis.xaxis.set_major_locator(MaxNLocator(6))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_agreement(graphs: dict[str, Tensor | None], joints: Tensor) -> Figure:
    """S_p against S_g of all pairs of images, one panel for each G_k `[B, H, N, F_k]`.

    Args:
        graphs: title -> G_k of the same images; one that is None is left out.
        joints: `[B, H, J, 3]`, the true ones.
    """
    graphs = {title: graph_k for title, graph_k in graphs.items() if graph_k is not None}
    most = LogNorm(1, max(2, len(joints) ** 2 / 200))  # one scale of colours for all panels
    figure = Figure(figsize=(3.6 * len(graphs) + 0.8, 3.4), layout="constrained")
    axes = figure.subplots(1, len(graphs), squeeze=False, sharex=True, sharey=True)[0]
    for axis, (title, graph_k) in zip(axes, graphs.items(), strict=True):
        S_p, S_g = (off_diagonal(matrix) for matrix in similarities(graph_k, joints))
        marks = axis.hexbin(S_g, S_p, gridsize=45, extent=(0, 1, 0, 1), mincnt=1, norm=most, cmap="viridis")
        axis.axline((0, 0), slope=1, color="black", linewidth=1, linestyle=":")
        axis.set(
            title=f"{title}: r = {np.corrcoef(S_p, S_g)[0, 1]:.2f}", xlabel="$S_g$, poses", aspect="equal"
        )
    axes[0].set_ylabel("$S_p$, features")
    figure.colorbar(marks, ax=axes, label="pairs of images")
    return figure


def draw_neighbours(
    looked: Looked, store: Store, hands: Hands, *, queries: int = 4, count: int = 3
) -> Figure:
    """Images, and those of other subjects that are nearest by S_p and by S_g, with their true skeletons.

    Args:
        looked: of a trained row.
        store: val/.
        hands: the hand models.
        queries: images to ask for, evenly over those looked at; one line each.
        count: neighbours of either kind.
    """
    asked = np.linspace(0, len(looked.positions) - 1, queries).astype(int)
    S_p, S_g = similarities(looked.seen.graph_k, looked.seen.joints)
    count = min(count, int(looked.foreign.sum(1).min()))
    lines = np.column_stack([asked, *(nearest(S, looked.foreign, count)[asked] for S in (S_p, S_g))])
    raw = store.batch(looked.positions[lines.ravel()])
    batch = finish(raw, hands)
    zoom = PICTURE_PX / batch.image.shape[-1]
    shown = [
        draw_skeletons(picture, zoom * joints)
        for picture, joints in zip(pictures(batch.image), batch.joints_2d, strict=True)
    ]
    kinds = ["image", *(f"{k + 1}. by $S_{kind}$" for kind in "pg" for k in range(count))]
    figure = Figure(figsize=(1.55 * lines.shape[1], 1.75 * queries + 0.3), layout="constrained")
    axes = figure.subplots(*lines.shape, squeeze=False)
    for place, axis in np.ndenumerate(axes):
        axis.imshow(shown[np.ravel_multi_index(place, lines.shape)])
        axis.set(xticks=[], yticks=[], title=kinds[place[1]] if place[0] == 0 else None)
        if place[1]:
            axis.set_xlabel(f"$S_g$ {S_g[lines[place[0], 0], lines[place]]:.2f}")
    return figure
