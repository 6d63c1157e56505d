"""All of a profile's report: CSV tables, figures, metrics.json and the page, from what the runs left."""

import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from handdgcl.atomic import write_json
from handdgcl.config import Config
from handdgcl.report.differences import differences
from handdgcl.report.evidence import contrast_monitors, difference_dots
from handdgcl.report.figures import (
    iou_errors,
    joint_errors,
    learning_curves,
    loss_curves,
    save_figure,
    table_2_dots,
    view_errors,
)
from handdgcl.report.page import CAPTIONS, data_name, write_page
from handdgcl.report.runs import Run
from handdgcl.report.sweep_figures import sweep_figures
from handdgcl.report.sweeps import COLUMNS, Sweeps
from handdgcl.report.tables import summary, table_1, table_2, write_csv
from handdgcl.report.verdicts import verdicts
from handdgcl.report.why import features_table, why_figures


def draw_figures(runs: list[Run], config: Config, sweeps: Sweeps | None = None) -> dict[str, Figure]:
    """The figures that follow from the runs' and sweeps' files alone, by their key in `CAPTIONS`."""
    figures = {
        "table2": table_2_dots(runs, data=data_name(config)),
        "validation": learning_curves(runs),
        "losses": loss_curves(runs),
        "differences": difference_dots(differences(runs)),
        "contrast": contrast_monitors(runs),
        "joints": joint_errors(runs),
        "overlap": iou_errors(runs),
        "view": view_errors(runs),
        **why_figures(runs),
    }
    figures |= sweep_figures(sweeps) if sweeps else {}
    return {name: figure for name, figure in figures.items() if figure is not None}


def write_report(
    folder: Path,
    config: Config,
    runs: list[Run],
    figures: dict[str, Figure],
    *,
    cost: pd.DataFrame | None = None,
    sweeps: Sweeps | None = None,
) -> Path:
    """Write the tables as CSV, metrics.json, figures/*.png and index.html.

    Args:
        folder: the profile's reports; its data_counts.csv, data_samples.png and data_histograms.png go into
            the page where they are there.
        config: the profile's parameters.
        runs: of `read_runs`.
        figures: by their key in `CAPTIONS`.
        cost: of `cost.inference_cost`; without it the folder's inference.csv is used where it is there.
        sweeps: of `sweeps.read_sweeps`.

    Returns:
        index.html.

    Raises:
        InputError: a file could not be written.
    """
    folder = Path(folder)
    inference = folder / "inference.csv"
    if cost is None and inference.exists():
        cost = pd.read_csv(inference)
    statistics, features = differences(runs), features_table(runs)
    answers = verdicts(runs, statistics, cost, sweeps)
    tables = {
        "table1": table_1(runs, data=data_name(config)),
        "table2": table_2(runs),
        "statistics": statistics,
        "claims": answers,
        "features": features,
        "sweeps": sweeps.effects if sweeps else pd.DataFrame(columns=COLUMNS),
    } | ({} if cost is None else {"inference": cost})
    for name, table in tables.items():
        write_csv(table, folder / f"{name}.csv")
    write_json(folder / "metrics.json", metrics(runs))
    counts, page = folder / "data_counts.csv", folder / "index.html"
    write_page(
        page,
        config,
        runs,
        images=_save_images(figures, folder),
        counts=pd.read_csv(counts) if counts.exists() else None,
        answers=(statistics, answers),
        features=features,
        sweeps=sweeps,
    )
    return page


def _save_images(figures: dict[str, Figure], folder: Path) -> dict[str, Path]:
    """The page's pictures: the figures, and those that the data stage left in the folder."""
    images = {name: folder / "figures" / f"{name}.png" for name in figures}
    for name, path in images.items():
        save_figure(figures[name], path)
    return images | {name: path for name in CAPTIONS if (path := folder / f"{name}.png").exists()}


def metrics(runs: list[Run]) -> dict[str, dict[str, float]]:
    """row -> mpjpe_mm, mpjpe_sd_mm, …, seeds; for `dvc metrics show`. What one seed cannot tell is absent."""
    lines = summary(runs).to_dict("index")
    return {row: {name: v for name, v in line.items() if math.isfinite(v)} for row, line in lines.items()}
