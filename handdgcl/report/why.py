"""Why a row is better or worse: what is in its features, over seeds, each figure answering a question."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from handdgcl.report.claims import DGCLNET
from handdgcl.report.figures import STYLES, label, legend
from handdgcl.report.runs import Run, row_title, short_title
from handdgcl.report.tables import BASELINE, BEST

SOURCE = "rows/<row>-<seed>/features.csv"  # the definitions are in evaluate/features.py
_OPEN = "none"  # how the second column of a figure is drawn


class Why(NamedTuple):
    """One question, the columns of features.csv that answer it, and the axis they share."""

    question: str
    columns: dict[str, str]  # column -> its name in the legend; the first is compared between rows
    axis: str
    caption: str


WHY = {
    "why_probe": Why(
        "Is the pose still in the disturbed graph, and does the contrast put more of it into G?",
        {"probe_graph_mm": "from G", "probe_disturbed_mm": "from its disturbed copy"},
        "Error of a linear readout of the pose (mm)",
        "A ridge regression reads the joints from G, and from its disturbed copy, of images it was not "
        "fitted to. Random and flipped edges leave the features as they are and change the graph alone.",
    ),
    "why_moved": Why(
        "How far does each disturbance move the graph?",
        {"moved": "G and its disturbed copy", "apart": "G of two images"},
        "Distance over the length of G",
        "The distance of G and its disturbed copy beside that of two different images, the scale of it. 0: "
        "the copy is G; 1.41: it is orthogonal to G.",
    ),
    "why_alignment": Why(
        "Does the GCN bring an image and its copy together, and keep images apart?",
        {"alignment": "alignment", "uniformity": "uniformity"},
        "",
        "Alignment and uniformity of G_k (Wang & Isola, ICML 2020), a mark for each seed: to the left an "
        "image and its disturbed copy coincide, below images are spread evenly. The dashed line is the "
        "baseline's uniformity; it has no copy to align.",
    ),
    "why_rank": Why(
        "How many directions do the features use?",
        {"effective_rank": "of $G_k$", "effective_rank_disturbed": "of the disturbed copy"},
        "Effective rank",
        "Effective rank of the features of the validation images at the end of training.",
    ),
    "why_agreement": Why(
        "Are features as similar as poses, before and after training?",
        {"pose_correlation": "after training", "pose_correlation_before": "initial weights"},
        "Correlation of $S_p$ and $S_g$",
        "Correlation of feature similarity and pose similarity over pairs of images, with the weights that "
        "training started from and with those it left.",
    ),
    "why_neighbours": Why(
        "Does the nearest image in feature space show the pose?",
        {
            "neighbour_mm": "nearest by features",
            "neighbour_best_mm": "nearest by pose similarity",
            "neighbour_chance_mm": "any image",
        },
        "Joint distance to the pose of another subject's image (mm)",
        "How far the pose of the most similar image of another subject is: similar in features (S_p), in "
        "pose (S_g), and any image for scale.",
    ),
    "why_error": Why(
        "Do rows whose features hold the pose better have the smaller error?",
        {"probe_graph_mm": "from G"},
        "",
        "The readout's error on validation images and the row's own error on test images, a mark for each "
        "seed.",
    ),
}


def features_by_seed(runs: list[Run]) -> pd.DataFrame:
    """features.csv of all trained runs, index (row, seed); a column that a row lacks is NaN."""
    trained = [run for run in runs if run.features]
    index = pd.MultiIndex.from_tuples([(r.row, r.seed) for r in trained], names=["row", "seed"])
    return pd.DataFrame([run.features for run in trained], index=index)


def features_table(runs: list[Run]) -> pd.DataFrame:
    """One line for each row and each column of features.csv that the row has.

    Returns:
        row, measure (the column), mean and sd over seeds, difference to the baseline of equal seeds and
        difference_sd, seeds.
    """
    found = features_by_seed(runs)
    lines = []
    for row in found.index.unique("row"):
        for column in found:
            values = found.loc[row, column].dropna()
            if values.empty:
                continue
            line = {"row": row, "measure": column, "mean": values.mean(), "sd": values.std()}
            if row != BASELINE and BASELINE in found.index.unique("row"):
                gain = (values - found.loc[BASELINE, column]).dropna()
                line |= {"difference": gain.mean(), "difference_sd": gain.std()}
            lines.append(line | {"seeds": len(values)})
    columns = ["row", "measure", "mean", "sd", "difference", "difference_sd", "seeds"]
    return pd.DataFrame(lines).reindex(columns=columns)


def readings(table: pd.DataFrame) -> dict[str, str]:
    """Under each figure of `WHY`: its first column by row, and differences.

    To the baseline, of DGCLNet* to DGCLNet, and of the second column to the first.

    Args:
        table: of `features_table`.
    """
    lines = {}
    for name, why in WHY.items():
        first, *others = why.columns
        found = table[table["measure"] == first].set_index("row")
        compared = found["difference"].notna()
        parts = {first: _by_row(first, found[~compared], "mean", "sd")}
        parts["minus the baseline's"] = _by_row(first, found[compared], "difference", "difference_sd", "+")
        if {DGCLNET, BEST} <= set(found.index):  # what similarity distinguish changed
            change = found.loc[[BEST], ["mean"]] - found.loc[DGCLNET, "mean"]
            parts[f"minus {short_title(DGCLNET)}'s"] = _by_row(first, change, "mean", None, "+")
        if len(others) == 1 and name != "why_alignment":
            second = table[table["measure"] == others[0]].set_index("row")
            gap = (second["mean"] - found["mean"]).dropna().reindex(second.index).dropna()
            names = f"{why.columns[others[0]]} minus {why.columns[first]}".replace("$", "")
            parts[names] = _by_row(first, gap.to_frame("mean"), "mean", None, "+")
        text = "; ".join(f"{kind}: {numbers}" for kind, numbers in parts.items() if numbers)
        if text:
            lines[name] = f"{text}. Mean ± standard deviation over seeds, from {SOURCE}."
    return lines


def digits_of(measure: str) -> int:
    """Decimals that a column of features.csv is shown with."""
    return 2 if measure.endswith("_mm") or measure.startswith("effective_rank") else 3


def _by_row(measure: str, lines: pd.DataFrame, value: str, spread: str | None, sign: str = "") -> str:
    """Each row with its number: "random mask +0.10 ± 0.02, …"."""
    digits, texts = digits_of(measure), []
    for row, line in lines.iterrows():
        text = f"{line[value]:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
        known = spread is not None and pd.notna(line[spread])
        texts.append(f"{short_title(row)} {text}" + (f" ± {line[spread]:.{digits}f}" if known else ""))
    return ", ".join(texts)


def why_figures(runs: list[Run]) -> dict[str, Figure]:
    """The figures of `WHY` that the runs have the columns for."""
    found = features_by_seed(runs)
    figures = {}
    for name, why in WHY.items():
        if not set(why.columns) <= set(found.columns):
            continue
        if name == "why_alignment":
            figures[name] = _alignment(found)
        elif name == "why_error":
            figures[name] = _errors(found, runs)
        else:
            figures[name] = _dots(found, why)
    return figures


def _dots(found: pd.DataFrame, why: Why) -> Figure:
    """A mark for each row, seed and column: filled the first, open the second, a bar the third."""
    rows = list(found.index.unique("row"))
    figure = Figure(figsize=(9, 0.36 * len(rows) + 1.3), layout="constrained")
    axis = figure.subplots()
    looks = ({}, {"markerfacecolor": _OPEN}, {"marker": "|", "markersize": 12})
    for (column, name), look in zip(why.columns.items(), looks, strict=False):
        axis.plot([], [], linestyle="", color="black", label=name, **({"marker": "o"} | look))
        for y, row in enumerate(rows):
            colour, marker, _ = STYLES[row]
            values = found.loc[row, column].to_numpy()
            place = y + np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else [y]
            style = {"marker": marker, "color": colour, "markersize": 7} | look
            axis.plot(values, place, linestyle="", alpha=0.85, **style)
    axis.set_yticks(range(len(rows)), [row_title(row) for row in rows])
    axis.invert_yaxis()
    label(axis, why.axis, None)
    legend(figure, axis)
    return figure


def _alignment(found: pd.DataFrame) -> Figure:
    """Alignment against uniformity."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axis = figure.subplots()
    for row in found.index.unique("row"):
        colour, marker, _ = STYLES[row]
        lines = found.loc[row]
        if lines["alignment"].isna().all():
            axis.axhline(lines["uniformity"].mean(), color=colour, linestyle="--", label=row_title(row))
            continue
        style = {"linestyle": "", "marker": marker, "color": colour, "markersize": 8}
        axis.plot(lines["alignment"], lines["uniformity"], label=row_title(row), **style)
    label(
        axis, "Alignment of $G_k$ and its copy (0: they coincide)", "Uniformity of $G_k$ (lower: more spread)"
    )
    axis.set_xlim(left=0)
    legend(figure, axis)
    return figure


def _errors(found: pd.DataFrame, runs: list[Run]) -> Figure:
    """The probe's error against MPJPE."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axis, every = figure.subplots(), []
    for row in found.index.unique("row"):
        colour, marker, _ = STYLES[row]
        shown = [run for run in runs if run.row == row]
        x = [run.features["probe_graph_mm"] for run in shown]
        y = [run.metrics["mpjpe_mm"] for run in shown]
        style = {"linestyle": "", "marker": marker, "color": colour, "markersize": 8}
        axis.plot(x, y, label=row_title(row), **style)
        every += zip(x, y, strict=True)
    label(axis, "Error of a linear readout of the pose from G (mm)", "MPJPE, test split (mm)")
    if len(every) > 2:
        r = np.corrcoef(np.transpose(every))[0, 1]
        axis.set_title(f"r = {r:.2f} over {len(every)} runs", fontsize=10)
    legend(figure, axis)
    return figure
