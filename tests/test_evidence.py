import dataclasses

import numpy as np
import pandas as pd
import pytest
from run_folders import leave_run

from handdgcl.report.differences import differences
from handdgcl.report.evidence import contrast_monitors, difference_dots
from handdgcl.report.figures import STYLES
from handdgcl.report.runs import read_runs


@pytest.fixture
def runs(tmp_path):
    contrast = {"a": {"b": 1}, "contrast": {"queue": 2047}}
    for row in ("baseline", "flip", "similarity"):
        for seed in range(3):
            folder = leave_run(tmp_path, row, seed, parameters=contrast)
            curves = pd.read_csv(folder / "curves.csv").assign(feature_std=0.1 * (seed + 1))
            if row != "baseline":
                curves["train_self"] = [-5.0, -6.0, -7.0 - seed]
            curves.to_csv(folder / "curves.csv", index=False)
    return read_runs(tmp_path)


def test_dots_and_intervals_are_the_tables(runs):
    table = differences(runs)
    axis = difference_dots(table).axes[0]
    lines = table[table["measure"] == "mpjpe"]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["flip edge minus baseline", "DGCLNet* minus baseline"]
    dots = [line for line in axis.lines if line.get_marker() in ("D", "*")]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(list(lines["difference"]))
    assert [dot.get_color() for dot in dots] == [STYLES["flip"][0], STYLES["similarity"][0]]
    spans = [bar.get_segments()[0][:, 0] for bar in axis.collections]
    assert np.allclose(spans, lines[["low", "high"]])


def test_monitors_are_of_the_rows_that_have_them_and_chance_follows_the_queue(runs):
    spread, own = contrast_monitors(runs).axes
    assert {line.get_label() for line in spread.lines} >= {"GCN baseline", "GCN + DGCLNet*"}
    drawn = {line.get_label(): line.get_ydata() for line in own.lines}
    assert "GCN baseline" not in drawn
    assert drawn["GCN + flip edge"] == pytest.approx([-5, -6, -8])
    dotted = [line for line in own.lines if line.get_linestyle() == ":"]
    assert dotted[0].get_ydata()[0] == pytest.approx(-np.log(2048))


def test_without_monitors_there_is_no_figure(runs):
    bare = [dataclasses.replace(r, curves=r.curves[["epoch", "val_mpjpe_mm"]]) for r in runs]
    assert contrast_monitors(bare) is None
