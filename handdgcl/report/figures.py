"""What several notebooks draw alike: one look for each row, learning curves, graphs on the hand."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from handdgcl.hands import Hands
from handdgcl.hands.topology import RIGHT
from handdgcl.model.graph import build_hierarchy
from handdgcl.report.results import MEAN_HAND, row_title
from handdgcl.rows import CONTROLS, FAMILIES, ROWS, TABLE_2

_BRIGHT = seaborn.color_palette("colorblind").as_hex()
_MUTED = seaborn.color_palette("dark").as_hex()
_PALE = seaborn.color_palette("Set2").as_hex()
# The mean hand is grey, the baseline black; the paper's own rows stand out among the colours.
_COLOURS = ("#888888", "#222222", *(_BRIGHT[k] for k in (0, 9, 2, 4, 1, 3)))
LOOKS = dict(zip((MEAN_HAND, *TABLE_2), zip(_COLOURS, "xsov^DP*", strict=True), strict=False))
LOOKS |= dict(zip(CONTROLS, zip(_MUTED, cycle("<>phHd8"), strict=False), strict=False))
_KINDS = list(dict.fromkeys(ROWS[row].family for row in FAMILIES))  # a family's rows share its colour
_OF_FAMILIES = [_PALE[_KINDS.index(ROWS[row].family) % len(_PALE)] for row in FAMILIES]
LOOKS |= dict(zip(FAMILIES, zip(_OF_FAMILIES, cycle("<>phHd8"), strict=False), strict=False))


def row_look(titles: pd.Series) -> dict[str, dict]:
    """Colours and markers for seaborn by the column title: `relplot(..., **row_look(table["title"]))`.

    A title that is none of these rows' gets a look of its own.

    Returns:
        hue_order, palette, markers (for hue="title", style="title").
    """
    known = {row_title(row): look for row, look in LOOKS.items()}
    free = cycle(zip(_MUTED[::-1], "<>phHd8", strict=False))
    looks = {title: known[title] if title in known else next(free) for title in titles.unique()}
    return {
        "hue_order": list(looks),
        "palette": {title: colour for title, (colour, _) in looks.items()},
        "markers": {title: marker for title, (_, marker) in looks.items()},
    }


def read_curves(checkpoints: Mapping[tuple[str, int], Path]) -> pd.DataFrame:
    """Learning curves of trained rows: one line for each run and epoch, with row, title and seed.

    Args:
        checkpoints: (row, seed) -> what `train_row` returned; curves.csv lies beside it.
    """
    tables = {run: pd.read_csv(path.with_name("curves.csv")) for run, path in checkpoints.items()}
    curves = pd.concat(tables, names=["row", "seed"]).reset_index(["row", "seed"])
    return curves.assign(title=curves["row"].map(row_title))


def learning_curves(curves: pd.DataFrame, labels: dict[str, str]) -> seaborn.FacetGrid:
    """Columns over epochs, a panel each: mean over seeds, band from the least to the largest.

    Args:
        curves: columns title, epoch and those of `labels`, e.g. `results.curves`.
        labels: column -> what its panel is called; a column that no run has is left out.
    """
    shown = {column: label for column, label in labels.items() if column in curves}
    table = curves.melt(["title", "epoch"], list(shown), var_name="panel").dropna(subset="value")
    table["panel"] = table["panel"].map(shown)
    grid = seaborn.relplot(
        **{"data": table, "x": "epoch", "y": "value", "kind": "line", "errorbar": ("pi", 100)},
        **{"hue": "title", "style": "title", "dashes": False, **row_look(table["title"])},
        **{
            "col": "panel",
            "col_wrap": min(3, len(shown)),
            "height": 2.6,
            "aspect": 1.2 if len(shown) > 1 else 2.2,
        },
        facet_kws={"sharey": False},
    )
    grid.set_titles("{col_name}").set_ylabels("")
    for ax in grid.axes.flat:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ncols = max(1, 100 // table["title"].str.len().max())
    place = {"bbox_to_anchor": (0.5, 1), "ncols": min(ncols, 4), "title": None, "frameon": False}
    seaborn.move_legend(grid, "lower center", **place)
    return grid


def node_places(hands: Hands, counts: list[int]) -> np.ndarray:
    """Where to draw the coarsest graph's nodes, `[N, 2]`: the right hand, fingers up."""
    return hands.template[RIGHT].numpy()[coarse_nodes(hands, counts)][:, [2, 0]] * np.array([1.0, -1.0])


def coarse_nodes(hands: Hands, counts: list[int]) -> np.ndarray:
    """Which vertices are the coarsest graph's nodes, `[N]`; `counts`: `graph.nodes` of the parameters."""
    template, faces = hands.template[RIGHT].numpy(), hands.faces[RIGHT].numpy()
    return build_hierarchy(template, faces, list(counts)).nodes[0]


def draw_graph(ax: Axes, adjacency: Tensor, places: np.ndarray, *, reference: Tensor | None = None) -> None:
    """Nodes and edges of a graph; against a reference, added edges are green and removed ones red.

    Args:
        adjacency, reference: `[N, N]`.
        places: `[N, 2]`, of `node_places`.
    """
    now = adjacency.cpu() > 0
    before = now if reference is None else reference.cpu() > 0
    kinds = ((now & before, "0.6", 0.8), (now & ~before, "tab:green", 0.6), (before & ~now, "tab:red", 1.0))
    for mask, colour, width in kinds:
        edges = mask.triu(1).nonzero().numpy()
        ax.add_collection(LineCollection(places[edges], colors=colour, linewidths=width))
    ax.scatter(*places.T, s=8, color="black", zorder=3)
    ax.set_aspect("equal")
    ax.axis("off")
