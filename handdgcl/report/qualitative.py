"""Pictures of results, in the manner of the paper's Figs 1, 3 and 4, on samples that a rule chooses."""

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from handdgcl.data.camera import project
from handdgcl.data.store import Store
from handdgcl.errors import InputError
from handdgcl.evaluate import Trained
from handdgcl.hands import Hands
from handdgcl.report.overlay import draw_hands, extent, fit_orthographic, second_view, weak_perspective
from handdgcl.report.runs import Run, row_title
from handdgcl.report.tables import BASELINE, BEST

PICTURE_PX = 224  # side of one picture of the figure
PAPER_WHITE = 255


def choose_samples(runs: list[Run], *, seed: int, count: int = 6) -> pd.DataFrame:
    """Samples for the figure: by a rule, never by hand.

    The baseline's MPJPE (both hands, the given seed) is cut into `count - 1` equal shares and the
    sample in the middle of each is taken; the last one has the largest overlap of the two hands, where
    samples.csv knows it (else another share takes its place).

    Returns:
        index (position in the test store), rule, and the MPJPE of the baseline and of DGCLNet* in mm.

    Raises:
        InputError: a row that the figure compares was not run.
    """
    errors = _errors(runs, seed)
    samples = runs[0].samples.groupby("index").first()
    has_overlap = "iou" in samples
    shares = max(count - has_overlap, 1)
    ranked = errors[BASELINE].sort_values(kind="stable").index
    chosen = {}
    for share in range(shares):
        position = (share + 0.5) / shares
        chosen.setdefault(
            ranked[int(position * len(ranked))], f"baseline's error: {100 * position:.0f}th percentile"
        )
    if has_overlap:
        most = samples["iou"].idxmax()
        chosen.setdefault(most, f"largest overlap: {samples['iou'][most]:.2f}")
    table = errors.loc[list(chosen)].rename_axis("index").reset_index()
    return table.assign(rule=list(chosen.values()))


def worst_samples(runs: list[Run], row: str, *, seed: int, count: int = 10) -> pd.DataFrame:
    """The samples with the largest MPJPE of one row, in the form of `choose_samples`.

    Raises:
        InputError: a row that the figure compares was not run.
    """
    errors = _errors(runs, seed)
    table = errors.sort_values(row, ascending=False, kind="stable").head(count)
    table = table.rename_axis("index").reset_index()
    return table.assign(
        rule=[f"{row_title(row)}: rank {rank} from the worst" for rank in range(1, len(table) + 1)]
    )


@torch.inference_mode()
def qualitative_figure(samples: pd.DataFrame, store: Store, baseline: Trained, best: Trained) -> Figure:
    """One line per sample: input, truth, baseline, DGCLNet*, its overlay; truth and DGCLNet* from the side.

    Args:
        samples: of `choose_samples` or `worst_samples`.
        store: the test split.
        baseline, best: the models of one seed.
    """
    raw = store.batch(samples["index"].tolist())
    outputs = [trained.network(raw.image) for trained in (baseline, best)]
    titles = ("Input", "Ground truth", "Baseline", "DGCLNet*", "DGCLNet*, overlay")
    titles += ("Ground truth, side", "DGCLNet*, side")
    figure = Figure(figsize=(1.7 * len(titles) + 0.6, 1.78 * len(samples) + 0.3), layout="constrained")
    axes = figure.subplots(len(samples), len(titles), squeeze=False)
    for line, sample in enumerate(samples.to_dict("records")):
        truth_2d = project(raw.vertices[line], raw.intrinsics[line])
        predicted = [(weak_perspective(o)[line], o.metric_vertices()[line]) for o in outputs]
        picture = raw.image[line].permute(1, 2, 0).numpy()
        cells = sample_pictures(picture, (truth_2d, raw.vertices[line]), *predicted, hands=best.hands)
        for axis, cell, title in zip(axes[line], cells, titles, strict=True):
            axis.imshow(cell)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if line == 0:
                axis.set_title(title, fontsize=11)
        axes[line, 0].set_ylabel(sample["rule"].replace(": ", ":\n"), fontsize=10)
        for column, row in ((2, BASELINE), (3, BEST)):
            axes[line, column].set_xlabel(f"{sample[row]:.1f} mm", fontsize=10)
    return figure


def sample_pictures(
    picture: np.ndarray,
    truth: tuple[Tensor, Tensor],
    baseline: tuple[Tensor, Tensor],
    best: tuple[Tensor, Tensor],
    *,
    hands: Hands,
) -> list[np.ndarray]:
    """The seven pictures of one sample, each `[PICTURE_PX, PICTURE_PX, 3]` uint8.

    Args:
        picture: `[S, S, 3]` uint8, RGB.
        truth, baseline, best: `[H, V, 2]` px of the crop and `[H, V, 3]` metres, camera axes.
        hands: their faces.
    """
    zoom = PICTURE_PX / picture.shape[0]
    large = cv2.resize(picture, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_CUBIC)
    white = np.full_like(large, PAPER_WHITE)
    views = [draw_hands(white, zoom * p, v, hands.faces) for p, v in (truth, baseline, best)]
    overlay = draw_hands(large, zoom * best[0], best[1], hands.faces, opacity=0.75)
    sides = [second_view(v) for _, v in (truth, best)]
    length = extent(sides[0])  # one scale for both, so that sizes can be compared
    turned = [
        draw_hands(white, fit_orthographic(v, PICTURE_PX, extent_m=length, fill=0.75), v, hands.faces)
        for v in sides
    ]
    return [large, *views, overlay, *turned]


def _errors(runs: list[Run], seed: int) -> pd.DataFrame:
    """MPJPE of the baseline and of DGCLNet* for each test sample."""
    return pd.DataFrame({row: _sample_errors(runs, row, seed) for row in (BASELINE, BEST)})


def _sample_errors(runs: list[Run], row: str, seed: int) -> pd.Series:
    """MPJPE of each test sample, mean over both hands."""
    for run in runs:
        if (run.row, run.seed) == (row, seed):
            return run.samples.groupby("index")["mpjpe_mm"].mean()
    raise InputError(
        f"{row_title(row)} was not run with seed {seed}, which the figure shows; run `dvc repro`"
    )
