"""How a cost grows with the work, and whether it is at most linear.

The exponent is the slope of log time over log size at the largest sizes alone, where it is greatest, fitted
anew in each round. A cost a + b x^p hides p below its fixed part a all the same, so p itself is told too.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator
from scipy.optimize import brentq

from handdgcl.atomic import replacing
from handdgcl.bench.measure import Figure
from handdgcl.report.figures import label, save_figure

LARGEST = 3  # sizes that both exponents are of
LINEAR_BAR = 1.05  # of its median: twice the work takes at most 2.07 times as long
POWERS = (0.01, 10.0)  # between which p is looked for
LEGEND = "exponent (dotted: proportional)"
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
    median = np.median(times, axis=0)
    about = {
        "sizes": list(sizes),
        "seconds": median.tolist(),
        "cost_of_a_unit_largest_to_smallest": float(median[-1] / median[0] * sizes[0] / sizes[-1]),
        "exponent_of_the_growing_part": growing_part(sizes, median),
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


def growing_part(sizes: list[int], seconds: np.ndarray) -> float | None:
    """p of a + b size^p through the `LARGEST` sizes; None where they do not grow or there are fewer."""
    if len(sizes) < LARGEST:
        return None
    x, y = np.array(sizes[-LARGEST:], float) / sizes[-1], np.diff(seconds[-LARGEST:])
    if (y <= 0).any():
        return None
    excess = lambda p: y[0] * (x[2] ** p - x[1] ** p) - y[1] * (x[1] ** p - x[0] ** p)
    low, high = POWERS
    return float(brentq(excess, low, high)) if excess(low) * excess(high) < 0 else None


def write_growth(folder: Path, figures: list[Figure]) -> None:
    """Leave growth.csv and growth.png of those figures that are of growth; nothing if none is."""
    found = [figure for figure in figures if isinstance(figure, Growth)]
    if not found:
        return
    with replacing(folder / "growth.csv") as path:
        growth_table(found).to_csv(path, index=False, float_format="%.6g")
    save_figure(growth_plot(found), folder / "growth.png")


def growth_table(found: list[Growth]) -> pd.DataFrame:
    """One line for each size: what was done, the median and quartiles of its time, both exponents."""
    rows = []
    for one in found:
        for size, times in zip(one.sizes, zip(*one.seconds, strict=True), strict=True):
            low, median, high = np.percentile(times, (25, 50, 75))
            both = one.quartiles()[1], one.about["exponent_of_the_growing_part"]
            rows.append((one.work, one.device, one.quantity, size, median, low, high, *both))
    columns = "work device quantity size seconds lower_quartile upper_quartile exponent growing_part"
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
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(y=0.25)
        axis.legend(fontsize=7, frameon=False, title=LEGEND, title_fontsize=7, loc="upper left")
        label(axis, quantity, "Seconds")
    for axis in axes[len(by_quantity) :]:
        axis.set_axis_off()
    return figure
