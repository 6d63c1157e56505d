import dataclasses

import numpy as np
import pytest
from PIL import Image
from run_folders import leave_run

from handdgcl.report.figures import (
    STYLES,
    iou_errors,
    joint_errors,
    learning_curves,
    loss_curves,
    save_figure,
    table_2_dots,
    view_errors,
)
from handdgcl.report.runs import MEAN_HAND, read_runs
from handdgcl.rows import ROWS


@pytest.fixture
def runs(tmp_path):
    leave_run(tmp_path, "mean", 0, level=45)
    for seed in (0, 1):
        leave_run(tmp_path, "baseline", seed)
        leave_run(tmp_path, "flip", seed, level=22)
    return read_runs(tmp_path)


def test_every_row_has_its_own_look():
    assert set(STYLES) == {MEAN_HAND, *ROWS}
    assert len({colour for colour, _, _ in STYLES.values()}) == len(STYLES)
    assert len({marker for _, marker, _ in STYLES.values()}) == len(STYLES)


def test_curves_are_means_over_seeds(runs):
    figure = learning_curves(runs)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(lines) == {"GCN baseline", "GCN + flip edge"}
    expected = np.mean([run.curves["val_mpjpe_mm"] for run in runs if run.row == "flip"], axis=0)
    assert np.allclose(lines["GCN + flip edge"].get_ydata(), expected)
    assert lines["GCN + flip edge"].get_color() == STYLES["flip"][0]


def test_losses_have_a_panel_for_each_term_there_is(runs):
    titles = [axis.get_title() for axis in loss_curves(runs).axes if axis.axison]
    assert titles == ["Total loss"]


def test_dots_stand_at_the_seeds_and_the_papers_numbers(runs):
    axes = table_2_dots(runs, data="open hand").axes
    ours = [run.metrics["mpvpe_mm"] for run in runs if run.row == "flip"]
    assert np.allclose(axes[2].lines[1].get_xdata(), ours)
    assert axes[3].lines[1].get_xdata() == [ROWS["flip"].paper_mpvpe_mm]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["GCN baseline", "GCN + flip edge"]


def test_joints_are_drawn_for_each_finger_and_row(runs):
    figure = joint_errors(runs)
    assert [axis.get_title() for axis in figure.axes] == ["Thumb", "Index", "Middle", "Ring", "Pinky"]
    assert {tuple(line.get_ydata()) for line in figure.axes[0].lines} == {(45,) * 4, (20,) * 4, (22,) * 4}


def test_overlap_bins_hold_their_samples(runs):
    figure = iou_errors(runs)  # IoU 0, 0.25, 0.5, 0.75
    labels = [label.get_text().split("\n")[1] for label in figure.axes[0].get_xticklabels()]
    assert labels == ["2 samples", "1 samples", "1 samples"]
    flip = [run.samples for run in runs if run.row == "flip"]
    last = np.mean([samples.loc[samples["iou"] == 0.75, "mpjpe_mm"].mean() for samples in flip])
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert drawn["GCN + flip edge"][2] == pytest.approx(last)
    bare = dataclasses.replace(runs[0], samples=runs[0].samples.drop(columns="iou"))
    assert iou_errors([bare, *runs[1:]]) is None


def test_each_hand_is_drawn_in_the_bins_of_its_view(runs):
    _, right = view_errors(runs).axes  # at 0, 45, 90 and 135 degrees
    ticks = [label.get_text().split("n = ")[1] for label in right.get_xticklabels()]
    assert ticks == ["1", "1", "1", "0", "1", "0"]  # a bin holds its upper end
    samples = [run.samples for run in runs if run.row == "flip"]
    at = lambda s: s.loc[(s["view_angle_deg"] == 135) & (s["hand"] == "right"), "mpjpe_mm"].item()
    drawn = {line.get_label(): line.get_ydata() for line in right.lines}
    assert drawn["GCN + flip edge"][4] == pytest.approx(np.mean([at(s) for s in samples]))
    assert "Mean hand (no image)" not in drawn
    bare = dataclasses.replace(runs[0], samples=runs[0].samples.drop(columns="view_angle_deg"))
    assert view_errors([bare, *runs[1:]]) is None


def test_a_figure_is_saved_as_png(runs, tmp_path):
    save_figure(joint_errors(runs), tmp_path / "new" / "joints.png")
    with Image.open(tmp_path / "new" / "joints.png") as image:
        assert image.format == "PNG" and image.width > 1000
