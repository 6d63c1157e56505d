"""Figures behind the verdicts: paired differences with their intervals, and whether the contrast works."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from handdgcl.report.claims import MEASURES
from handdgcl.report.figures import STYLES, band, curves_by_row, label, legend
from handdgcl.report.runs import Run, pair_title

PANELS = 3  # side by side
MONITORS = {
    "feature_std": "Spread of features\n(0: all images alike)",
    "effective_rank": "Effective rank\nof features",
    "pose_correlation": "Correlation of\n$S_p$ and $S_g$",
    "train_self": "Self contrast,\neq. 13",
    "train_cross": "Similarity distinguish,\neq. 12",
}


def difference_dots(table: pd.DataFrame) -> Figure:
    """Each difference of `differences.differences` as a dot with its interval, one panel for each measure."""
    measures = [name for name in MEASURES if name in set(table["measure"])]
    pairs = list(dict.fromkeys(zip(table["row"], table["minus"], strict=True)))
    lines = -(-len(measures) // PANELS)
    height = lines * (0.34 * len(pairs) + 0.9)
    figure = Figure(figsize=(10, height + 0.3), layout="constrained")
    axes = figure.subplots(lines, PANELS, squeeze=False, sharey=True)
    for axis, name in zip(axes.ravel(), measures, strict=False):
        _dots(axis, table[table["measure"] == name].set_index(["row", "minus"]), pairs)
        unit = f" ({MEASURES[name].unit})" if MEASURES[name].unit else ""
        better = "" if name != "mask_iou" else "; right of 0 is better"
        label(axis, f"Difference{unit}{better}", None, title=MEASURES[name].title)
        axis.xaxis.set_major_locator(MaxNLocator(4))
    for axis in axes.ravel()[len(measures) :]:
        axis.set_axis_off()
    axes[0, 0].set_yticks(range(len(pairs)), [pair_title(*pair) for pair in pairs])
    axes[0, 0].set_ylim(len(pairs) - 0.5, -0.5)
    return figure


def contrast_monitors(runs: list[Run]) -> Figure | None:
    """Monitors of the features (`contrast.monitors`) and the contrastive terms, over epochs, or None.

    The dotted line is what eq. 13 gives for features that tell no image from another, -log(queue + 1).
    """
    found = {column: curves_by_row(runs, column) for column in MONITORS}
    found = {column: rows for column, rows in found.items() if rows}
    if not found:
        return None
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for axis, (column, rows) in zip(axes, found.items(), strict=True):
        for row, values in rows.items():
            band(axis, row, values)
        label(axis, "Epoch", None, title=MONITORS[column])
        chance = chance_level(runs) if column == "train_self" else None
        if chance is not None:
            axis.axhline(chance, color="black", linestyle=":", linewidth=1.5)
            axis.annotate("chance", (1, chance), va="bottom", fontsize=9)
    axes[0].set_ylim(bottom=0)
    legend(figure, max(axes, key=lambda axis: len(axis.get_legend_handles_labels()[0])))
    return figure


def chance_level(runs: list[Run]) -> float | None:
    """-log(queue + 1) of the runs' own parameters; None if they differ or do not say."""
    lengths = {run.info["parameters"].get("contrast", {}).get("queue") for run in runs}
    length = lengths.pop()
    return None if lengths or length is None else -float(np.log(length + 1))


def _dots(axis: Axes, lines: pd.DataFrame, pairs: list[tuple[str, str]]) -> None:
    """One panel: dot and interval for each pair that the measure has."""
    axis.axvline(0, color="black", linewidth=1)
    for y, pair in enumerate(pairs):
        if pair not in lines.index:
            continue
        line = lines.loc[pair]
        colour, marker, _ = STYLES[pair[0]]
        axis.hlines(y, line["low"], line["high"], color=colour, linewidth=2)
        axis.plot(line["difference"], y, marker=marker, color=colour, markersize=7, linestyle="")
