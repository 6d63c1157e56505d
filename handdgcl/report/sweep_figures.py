"""Figures of the sweeps: differences with intervals over the points, and a map of the loss's terms."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from handdgcl.report.cells import signed
from handdgcl.report.figures import STYLES, label
from handdgcl.report.runs import row_title
from handdgcl.report.statistics import ALPHA
from handdgcl.report.sweeps import MAIN, MEASURES, TASKS, TERMS, Sweeps
from handdgcl.report.tables import BASELINE

SWEEP_CAPTIONS = {
    "sweeps": "MPJPE on the validation split minus that of the point with the ring, paired by seed and "
    "sample, with 95 % intervals over seeds and subjects, not corrected for their number. Below the line is "
    "better.",
    "sweep_rows": "Sweeps of several rows. Left: MPJPE, a mark at the mean over seeds, a bar over their "
    "range. Right: each row minus the baseline at the same point, with 95 % intervals.",
    TERMS: "What leaving out one term of the loss does to each error (DGCLNet*): the difference and, as "
    "colour, its share of the error with all terms; blue is smaller, red larger. Framed: the error that the "
    "term is there for. Star: corrected p below 0.05.",
}
PANELS = 4  # side by side
TITLE_WIDTH, POINT_WIDTH = 34, 8  # characters in a line
_WHOLE = {"break_long_words": False, "break_on_hyphens": False}
MOST_PERCENT = 20  # colours end here


def sweep_figures(sweeps: Sweeps) -> dict[str, Figure]:
    """The figures that the sweeps at hand allow, by their key in `SWEEP_CAPTIONS`."""
    single = [n for n, r in sweeps.results.items() if len(r.sweep.rows) == 1 and n != TERMS]
    several = [n for n, r in sweeps.results.items() if len(r.sweep.rows) > 1 and BASELINE in r.sweep.rows]
    figures = {}
    if single:
        figures["sweeps"] = base_panels(sweeps, single)
    if several:
        figures["sweep_rows"] = row_panels(sweeps, several)
    if TERMS in sweeps.results:
        figures[TERMS] = terms_map(sweeps.effects[sweeps.effects["sweep"].eq(TERMS)])
    return figures


def base_panels(sweeps: Sweeps, names: list[str]) -> Figure:
    """One panel for each sweep of a single row: each point minus the base."""
    lines = -(-len(names) // PANELS)
    figure = Figure(figsize=(12, 2.9 * lines + 0.3), layout="constrained")
    axes = figure.subplots(lines, PANELS, squeeze=False)
    for axis, name in zip(axes.ravel(), names, strict=False):
        sweep = sweeps.results[name].sweep
        points = list(sweep.points)
        known = _of(sweeps.effects, name).set_index("point").reindex(points)
        nothing = dict.fromkeys(("difference", "low", "high"), 0.0)
        known.loc[sweep.base, list(nothing)] = list(nothing.values())
        _draw(axis, sweep.rows[0], points, known["difference"], known["low"], known["high"])
        axis.axhline(0, color="black", linewidth=1)
        axis.plot(points.index(sweep.base), 0, "o", markersize=9, mfc="none", color="black")
        label(axis, None, f"MPJPE minus that of “{sweep.base}” (mm)", title=fill(sweep.title, TITLE_WIDTH))
    for axis in axes.ravel()[len(names) :]:
        axis.set_axis_off()
    return figure


def row_panels(sweeps: Sweeps, names: list[str]) -> Figure:
    """For each sweep of several rows: their errors, and each row minus the baseline."""
    figure = Figure(figsize=(10, 3.0 * len(names) + 0.5), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    for (left, right), name in zip(axes, names, strict=True):
        result, lines = sweeps.results[name], _of(sweeps.effects, name)
        points, rows = list(result.sweep.points), result.sweep.rows
        for k, row in enumerate(rows):
            shift = 0.1 * (k - (len(rows) - 1) / 2)
            errors = result.runs[result.runs["row"].eq(row)].groupby("point")[MAIN]
            seeds = errors.agg(["mean", "min", "max"]).loc[points]
            _draw(left, row, points, seeds["mean"], seeds["min"], seeds["max"], shift=shift)
            mine = lines[lines["row"].eq(row) & lines["minus_row"].eq(BASELINE) & lines["row"].ne(BASELINE)]
            if not mine.empty:
                mine = mine.set_index("point").loc[points]
                _draw(right, row, points, mine["difference"], mine["low"], mine["high"], shift=shift)
        right.axhline(0, color="black", linewidth=1)
        label(left, None, "MPJPE (mm)", title=result.sweep.title)
        label(right, None, "MPJPE minus the baseline's (mm)")
    named = {}
    for axis in axes[:, 0]:
        for line, text in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(text, line)
    figure.legend(named.values(), named, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def terms_map(effects: pd.DataFrame) -> Figure:
    """Left-out terms by errors: differences to all terms, coloured by their share of the error."""
    columns = [name for name in MEASURES if name in set(effects["measure"])]
    terms = list(dict.fromkeys(effects["point"]))
    cells = effects.set_index(["point", "measure"])
    figure = Figure(figsize=(1.6 * len(columns) + 2.6, 0.55 * len(terms) + 1.5), layout="constrained")
    axis = figure.subplots()
    share = np.array([[100 * _share(cells.loc[(term, m)]) for m in columns] for term in terms])
    image = axis.imshow(share, cmap="RdBu_r", vmin=-MOST_PERCENT, vmax=MOST_PERCENT, aspect="auto")
    for y, term in enumerate(terms):
        for x, measure in enumerate(columns):
            cell, own = cells.loc[(term, measure)], TASKS.get(term) == measure
            text = signed(cell["difference"], cell["unit"]) + ("*" if cell["p_holm"] < ALPHA else "")
            dark = abs(share[y, x]) > 0.65 * MOST_PERCENT
            weight = "bold" if own else "normal"
            axis.text(x, y, text, ha="center", va="center", color="white" if dark else "black", weight=weight)
            if own:
                axis.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, linewidth=1.5))
    axis.set_xticks(range(len(columns)), [f"{MEASURES[m].title} ({MEASURES[m].unit})" for m in columns])
    axis.set_yticks(range(len(terms)), [f"without {term}" for term in terms])
    axis.xaxis.tick_top()
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, extend="both", label="% of the error with all terms")
    return figure


def _of(effects: pd.DataFrame, name: str) -> pd.DataFrame:
    """A sweep's differences in MPJPE."""
    return effects[effects["sweep"].eq(name) & effects["measure"].eq(MAIN)]


def _draw(
    axis: Axes,
    row: str,
    points: list[str],
    at: pd.Series,
    low: pd.Series,
    high: pd.Series,
    *,
    shift: float = 0,
) -> None:
    """One row over the points, with bars; joined by a line where the points are numbers."""
    colour, marker, style = STYLES[row]
    x = np.arange(len(points)) + shift
    numbers = all(point.replace(".", "").removeprefix("-").isdigit() for point in points)
    axis.vlines(x, low, high, color=colour, linewidth=2)
    look = {"marker": marker, "color": colour, "linestyle": style if numbers else "", "linewidth": 0.8}
    axis.plot(x, at, label=row_title(row), **look)
    axis.set_xticks(range(len(points)), [fill(point, POINT_WIDTH, **_WHOLE) for point in points], fontsize=8)
    axis.set_xlim(-0.5, len(points) - 0.5)


def _share(cell: pd.Series) -> float:
    return cell["difference"] / cell["reference"]
