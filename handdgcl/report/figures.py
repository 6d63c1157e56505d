"""The report's figures. One row has one colour, marker and line everywhere (`STYLES`)."""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from handdgcl.atomic import replacing
from handdgcl.data.overlap import IOU_BINS, IOU_TITLES
from handdgcl.hands.topology import FINGERS, HANDS
from handdgcl.report.runs import MEAN_HAND, Run, row_title
from handdgcl.report.tables import BASELINE, METRICS, by_seed, paper_numbers
from handdgcl.rows import ROWS

_PALETTE = seaborn.color_palette("colorblind").as_hex()
# row -> colour, marker, line style; the paper's own rows stand out, explicit disturbances are dashed.
STYLES = {
    MEAN_HAND: ("#888888", "x", ":"),
    "baseline": ("#222222", "s", "-"),
    "mask": (_PALETTE[0], "o", "--"),
    "noise": (_PALETTE[9], "v", "--"),
    "edge": (_PALETTE[2], "^", "--"),
    "flip": (_PALETTE[4], "D", "--"),
    "dgclnet": (_PALETTE[1], "P", "-"),
    "similarity": (_PALETTE[3], "*", "-"),
}
TERM_TITLES = {
    "loss": "Total loss",
    "joints_3d": "3D joints",
    "vertices_3d": "3D vertices",
    "joints_2d": "2D joints (px)",
    "length": "Bone length (mm)",
    "transition": "Transition",
    "consistent": "Consistency, eq. 10",
    "self": "Self contrast, eq. 13",
    "cross": "Similarity distinguish, eq. 12",
}
JOINT_TITLES = ("1\nbase", "2", "3", "4\ntip")
VIEW_STEP = 30  # degrees
VIEW_EDGES = np.arange(0, 181, VIEW_STEP)
VIEW_CENTRES = VIEW_EDGES[:-1] + VIEW_STEP / 2
DPI = 160


def learning_curves(runs: list[Run]) -> Figure:
    """Validation MPJPE and MPVPE over epochs, and each row's less the baseline's of the same seed.

    Mean over seeds, band from the least to the largest.
    """
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for (above, below), m in zip(axes.T, METRICS, strict=True):
        rows = curves_by_row(runs, f"val_{m}_mm")
        for row, curves in rows.items():
            band(above, row, curves)
            if row != BASELINE and BASELINE in rows:
                band(below, row, curves - rows[BASELINE])
        below.axhline(0, color="black", linewidth=1)
        label(above, None, f"Validation {m.upper()} (mm)")
        label(below, "Epoch", "Minus the baseline's (mm)")
    legend(figure, axes[0, 0])
    return figure


def loss_curves(runs: list[Run]) -> Figure:
    """Training loss by term over epochs, unweighted: mean over seeds, band from the least to the largest."""
    terms = {term: curves_by_row(runs, f"train_{term}") for term in TERM_TITLES}
    terms = {term: curves for term, curves in terms.items() if curves}
    figure = Figure(figsize=(9, 2.5 * -(-len(terms) // 3) + 0.8), layout="constrained")
    axes = figure.subplots(-(-len(terms) // 3), 3, squeeze=False).ravel()
    for axis, (term, curves) in zip(axes, terms.items(), strict=False):
        for row, values in curves.items():
            band(axis, row, values)
        label(axis, "Epoch", None, title=TERM_TITLES[term])
    for axis in axes[len(terms) :]:
        axis.set_axis_off()
    legend(figure, axes[0])
    return figure


def table_2_dots(runs: list[Run], *, data: str) -> Figure:
    """Table 2 as dots: ours by seed with a line at their mean, and the paper's numbers on their own axis."""
    ours = by_seed(runs)
    rows = [row for row in ROWS if row in ours.index.unique("row")]
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    for k, m in enumerate(METRICS):
        for y, row in enumerate(rows):
            colour, marker, _ = STYLES[row]
            values = ours.loc[row, f"{m}_mm"].to_numpy()
            spread = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else [0.0]
            axes[2 * k].plot(
                values, y + np.array(spread), linestyle="", marker=marker, color=colour, alpha=0.8
            )
            axes[2 * k].vlines(values.mean(), y - 0.32, y + 0.32, color=colour, linewidth=2)
            axes[2 * k + 1].plot(paper_numbers(row)[f"paper_{m}_mm"], y, marker=marker, color=colour)
        label(axes[2 * k], f"{m.upper()} (mm)", None, title=f"Ours\n{data}")
        label(axes[2 * k + 1], f"{m.upper()} (mm)", None, title="Paper, quoted\nInterHand2.6M")
    axes[0].set_yticks(range(len(rows)), [row_title(row) for row in rows])
    axes[0].invert_yaxis()
    return figure


def joint_errors(runs: list[Run]) -> Figure:
    """MPJPE along each finger, mean over both hands and all seeds."""
    rows = {run.row: [r.joints.mean(axis=1) for r in runs if r.row == run.row] for run in runs}
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(FINGERS), sharey=True)
    for axis, finger in zip(axes, FINGERS, strict=True):
        joints = [f"{finger}{k}" for k in range(1, 5)]
        for row, seeds in rows.items():
            colour, marker, line = STYLES[row]
            values = pd.concat(seeds, axis=1).mean(axis=1)[joints]
            axis.plot(range(4), values, color=colour, marker=marker, linestyle=line, label=row_title(row))
        axis.set_xticks(range(4), JOINT_TITLES)
        label(axis, None, None, title=finger.capitalize())
    axes[0].set_ylabel("Joint error (mm)")
    axes[0].set_ylim(bottom=0)
    legend(figure, axes[0])
    return figure


def iou_errors(runs: list[Run]) -> Figure | None:
    """MPJPE by the overlap of the two hands in the image; None where samples.csv has no iou."""
    if any("iou" not in run.samples for run in runs):
        return None
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axis = figure.subplots()
    shown = [run for run in runs if run.row != MEAN_HAND]
    rows = list(dict.fromkeys(run.row for run in shown))
    for k, row in enumerate(rows):
        values = np.stack([_by_iou(run) for run in shown if run.row == row])  # [seeds,bins]
        x = np.arange(len(IOU_TITLES)) + (k - (len(rows) - 1) / 2) * 0.1
        colour, marker, _ = STYLES[row]
        axis.vlines(x, values.min(0), values.max(0), color=colour, linewidth=2)
        axis.plot(x, values.mean(0), marker=marker, color=colour, linestyle="", label=row_title(row))
    counts = _bins(runs[0].samples).value_counts(sort=False) // 2
    axis.set_xticks(range(3), [f"{t}\n{n} samples" for t, n in zip(IOU_TITLES, counts, strict=True)])
    label(axis, "Overlap in the image: common area ÷ the smaller hand's", "MPJPE (mm)")
    legend(figure, axis)
    return figure


def view_errors(runs: list[Run]) -> Figure | None:
    """MPJPE of each hand by the side it is seen from; None where samples.csv has no view_angle_deg."""
    if any("view_angle_deg" not in run.samples for run in runs):
        return None
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, len(HANDS), sharey=True)
    shown = [run for run in runs if run.row != MEAN_HAND]
    rows = list(dict.fromkeys(run.row for run in shown))
    for axis, hand in zip(axes, HANDS, strict=True):
        for k, row in enumerate(rows):
            values = np.stack([_by_view(run, hand) for run in shown if run.row == row])  # [seeds,bins]
            x = VIEW_CENTRES + 3.2 * (k - (len(rows) - 1) / 2)
            colour, marker, _ = STYLES[row]
            axis.vlines(x, values.min(0), values.max(0), color=colour, linewidth=2)
            axis.plot(x, values.mean(0), marker=marker, color=colour, linestyle="", label=row_title(row))
        counts = _view_bins(runs[0], hand).value_counts(sort=False)
        ticks = [
            f"{low}\N{EN DASH}{low + VIEW_STEP}°\nn = {n}" for low, n in zip(VIEW_EDGES, counts, strict=False)
        ]
        axis.set_xticks(VIEW_CENTRES, ticks, fontsize=8)
        label(
            axis, "Palm's normal to the camera (0° palm, 180° back)", None, title=f"{hand.capitalize()} hand"
        )
    axes[0].set_ylabel("MPJPE (mm)")
    legend(figure, axes[0])
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def curves_by_row(runs: list[Run], column: str) -> dict[str, pd.DataFrame]:
    """Row -> `[epochs, seeds]` of one column of curves.csv, for the rows that have it."""
    rows = {}
    for run in runs:
        if run.curves is not None and column in run.curves:
            rows.setdefault(run.row, {})[run.seed] = run.curves.set_index("epoch")[column]
    return {row: pd.concat(series, axis=1) for row, series in rows.items()}


def band(axis: Axes, row: str, values: pd.DataFrame) -> None:
    """Mean over the columns as a line, their range as a band."""
    colour, marker, line = STYLES[row]
    every, mean = max(1, len(values) // 5), values.mean(axis=1)
    axis.plot(mean.index, mean, line, color=colour, marker=marker, markevery=every, label=row_title(row))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.fill_between(
        values.index, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15, linewidth=0
    )


def _by_iou(run: Run) -> np.ndarray:
    """MPJPE in each bin, NaN where a bin is empty."""
    return run.samples["mpjpe_mm"].groupby(_bins(run.samples), observed=False).mean().to_numpy()


def _by_view(run: Run, hand: str) -> np.ndarray:
    """MPJPE of one hand in each bin of the view's angle, NaN where a bin is empty."""
    errors = run.samples.loc[run.samples["hand"] == hand, "mpjpe_mm"]
    return errors.groupby(_view_bins(run, hand), observed=False).mean().to_numpy()


def _view_bins(run: Run, hand: str) -> pd.Series:
    angles = run.samples.loc[run.samples["hand"] == hand, "view_angle_deg"]
    return pd.cut(angles, VIEW_EDGES, include_lowest=True)


def _bins(samples: pd.DataFrame) -> pd.Series:
    return pd.cut(samples["iou"], (*IOU_BINS[:-1], np.inf), right=False, labels=IOU_TITLES)


def label(axis: Axes, x: str | None, y: str | None, *, title: str | None = None) -> None:
    """Axis names and a light frame."""
    if x:
        axis.set_xlabel(x)
    if y:
        axis.set_ylabel(y)
    if title:
        axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure, axis: Axes) -> None:
    """One legend for all panels, above them."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
