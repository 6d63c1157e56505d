import numpy as np
import pytest
from run_folders import leave_run

from handdgcl.config import load_config
from handdgcl.report.report import draw_figures, write_report
from handdgcl.report.runs import read_runs
from handdgcl.report.why import WHY, features_by_seed, features_table, readings, why_figures


@pytest.fixture
def runs(tmp_path):
    leave_run(tmp_path, "mean", 0)
    for row in ("baseline", "mask", "dgclnet"):
        for seed in range(3):
            leave_run(tmp_path, row, seed)
    return read_runs(tmp_path)


def of(runs, row, column):
    return np.array([run.features[column] for run in runs if run.row == row])


def test_the_table_pairs_equal_seeds(runs):
    table = features_table(runs).set_index(["row", "measure"])
    mask, base = (of(runs, row, "probe_graph_mm") for row in ("mask", "baseline"))
    line = table.loc[("mask", "probe_graph_mm")]
    assert line["mean"] == pytest.approx(mask.mean()) and line["sd"] == pytest.approx(mask.std(ddof=1))
    assert line["difference"] == pytest.approx((mask - base).mean())
    assert line["difference_sd"] == pytest.approx((mask - base).std(ddof=1)) and line["seeds"] == 3
    assert np.isnan(table.loc[("mask", "alignment"), "difference"])  # the baseline has none
    assert ("baseline", "alignment") not in table.index and "mean" not in table.index.unique("row")


def test_figures_are_of_the_columns_there_are_and_show_every_seed(runs):
    figures = why_figures(runs)
    assert set(figures) == {"why_probe", "why_rank", "why_alignment", "why_error"}
    drawn = [line.get_xdata() for line in figures["why_probe"].axes[0].lines]
    for row, column in (("mask", "probe_graph_mm"), ("dgclnet", "probe_disturbed_mm")):
        assert any(len(x) == 3 and np.allclose(x, of(runs, row, column)) for x in drawn)
    marks = {line.get_label(): line for line in figures["why_alignment"].axes[0].lines}
    assert np.allclose(marks["GCN + DGCLNet"].get_ydata(), of(runs, "dgclnet", "uniformity"))
    assert set(marks["GCN baseline"].get_ydata()) == {of(runs, "baseline", "uniformity").mean()}
    found = features_by_seed(runs)["probe_graph_mm"].to_numpy()
    errors = [run.metrics["mpjpe_mm"] for run in runs if run.row != "mean"]
    r = np.corrcoef(found, errors)[0, 1]
    assert figures["why_error"].axes[0].get_title() == f"r = {r:.2f} over 9 runs"


def test_each_picture_stands_under_its_question_with_numbers_and_source(runs, tmp_path):
    config = load_config("params.yaml")
    page = write_report(tmp_path, config, runs, draw_figures(runs, config)).read_text()
    section = page.split("Why: what is in the features")[1].split("<h2>")[0]
    parts = section.split("<h3>")[1:]
    shown = ["why_probe", "why_alignment", "why_rank", "why_error"]
    assert len(parts) == len(shown)
    for part, name in zip(parts, shown, strict=True):
        assert part.startswith(WHY[name].question) and f'id="figure-{name}"' in part
        assert "features.csv" in part
    mask, base = (of(runs, row, "probe_graph_mm") for row in ("mask", "baseline"))
    number = f"{(mask - base).mean():+.2f}".replace("-", "\N{MINUS SIGN}")
    assert f"random mask {number}" in parts[0] and f"random mask {number}" in parts[-1]
    assert 'title="features.csv, from rows/*/features.csv, column probe_disturbed_mm"' in section


def test_without_features_the_page_asks_nothing(tmp_path):
    folder = leave_run(tmp_path / "rows", "mean", 0)
    leave_run(tmp_path / "rows", "baseline", 0)
    (tmp_path / "rows" / "baseline-0" / "features.csv").unlink()
    runs = read_runs(folder.parent)
    assert why_figures(runs) == {} and readings(features_table(runs)) == {}
    page = write_report(tmp_path, load_config("params.yaml"), runs, {}).read_text()
    assert "Why: what is in" not in page
