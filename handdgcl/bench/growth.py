"""How a cost grows with the work, and whether it is at most linear.

A cost a + b x^p hides its power p below its fixed part a. So the exponent is the slope of log time over
log size at the largest sizes alone, where it is greatest, fitted anew in each round.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd

from handdgcl.atomic import replacing
from handdgcl.bench.measure import Figure
from handdgcl.report.figures import label, save_figure

LARGEST = 3  # sizes that the exponent is fitted to
LINEAR_BAR = 1.05  # of its median: twice the work takes at most 2.07 times as long
PANELS = 3  # side by side


@dataclass(frozen=True)
class Growth(Figure):
    """A figure whose value in each round is the exponent.

    Attributes:
        work: what was done.
        quantity: what was varied, with its unit.
        sizes: its values, increasing.
        seconds: `[rounds][sizes]`.
    """

    work: str = ""
    quantity: str = ""
    sizes: tuple[int, ...] = ()
    seconds: tuple[tuple[float, ...], ...] = ()


def growth(work: str, quantity: str, sizes: list[int], times: np.ndarray, **rest) -> Growth:
    """The figure of one series of sizes.

    Args:
        work, quantity: as in `Growth`.
        sizes: increasing, at least two.
        times: `[rounds, sizes]` seconds.
        rest: as in `Figure`.
    """
    per_unit = np.median(times, axis=0) / sizes
    about = {
        "sizes": list(sizes),
        "seconds": np.median(times, axis=0).tolist(),
        "cost_of_a_unit_largest_to_smallest": float(per_unit[-1] / per_unit[0]),
    }
    return Growth(
        f"{work} over {quantity}: exponent",
        exponents(sizes, times).tolist(),
        bar=LINEAR_BAR,
        work=work,
        quantity=quantity,
        sizes=tuple(sizes),
        seconds=tuple(map(tuple, times.tolist())),
        **rest | {"about": rest.get("about", {}) | about},
    )


def exponents(sizes: list[int], times: np.ndarray) -> np.ndarray:
    """`[rounds]`, p of time ∝ size^p by least squares on the logarithms of the `LARGEST` sizes."""
    x, y = np.log(sizes[-LARGEST:]), np.log(times[:, -LARGEST:])
    return np.polyfit(x, y.T, 1)[0]


def write_growth(folder: Path, figures: list[Figure]) -> None:
    """Leave growth.csv and growth.png of those figures that are of growth; nothing if none is."""
    found = [figure for figure in figures if isinstance(figure, Growth)]
    if not found:
        return
    with replacing(folder / "growth.csv") as path:
        growth_table(found).to_csv(path, index=False, float_format="%.6g")
    save_figure(growth_plot(found), folder / "growth.png")


def growth_table(found: list[Growth]) -> pd.DataFrame:
    """One line for each size: work, device, quantity, size, median, quartiles and the exponent's median."""
    rows = []
    for one in found:
        for size, times in zip(one.sizes, zip(*one.seconds, strict=True), strict=True):
            low, median, high = np.percentile(times, (25, 50, 75))
            rows.append((one.work, one.device, one.quantity, size, median, low, high, one.quartiles()[1]))
    columns = "work device quantity size seconds lower_quartile upper_quartile exponent"
    return pd.DataFrame(rows, columns=columns.split())


def growth_plot(found: list[Growth]) -> matplotlib.figure.Figure:
    """A panel for each quantity, axes logarithmic; dotted: time in proportion, through the last point."""
    by_quantity = defaultdict(list)
    for one in found:
        by_quantity[one.quantity].append(one)
    lines = -(-len(by_quantity) // PANELS)
    figure = matplotlib.figure.Figure(figsize=(10, 3.2 * lines), layout="constrained")
    axes = figure.subplots(lines, PANELS, squeeze=False).ravel()
    for axis, (quantity, series) in zip(axes, by_quantity.items(), strict=False):
        for one in series:
            sizes = np.array(one.sizes)
            low, median, high = np.percentile(one.seconds, (25, 50, 75), axis=0)
            name = f"{one.work}, {one.device}: {one.quartiles()[1]:.2f}"
            bars = axis.errorbar(sizes, median, (median - low, high - median), marker=".", label=name)
            axis.plot(sizes, median[-1] * sizes / sizes[-1], ":", color=bars[0].get_color(), linewidth=1)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.legend(fontsize=7, frameon=False, title="exponent", title_fontsize=7)
        label(axis, quantity, "Seconds")
    for axis in axes[len(by_quantity) :]:
        axis.set_axis_off()
    return figure
