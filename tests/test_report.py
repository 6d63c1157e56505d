import base64
import json
import re

import cv2
import numpy as np
import pandas as pd
import pytest
from run_folders import leave_run

from handdgcl.config import load_config
from handdgcl.report.report import draw_figures, write_report
from handdgcl.report.runs import read_runs
from handdgcl.report.tables import table_2


@pytest.fixture
def config():
    return load_config("params.yaml")


@pytest.fixture
def folder(tmp_path):
    leave_run(tmp_path / "rows", "mean", 0, level=45)
    for seed in (0, 1):
        leave_run(tmp_path / "rows", "baseline", seed, seconds=90.0)
    leave_run(tmp_path / "rows", "dgclnet", 0, level=18, commit="<script>")
    pd.DataFrame({"rule": ["all images"], "dropped": [0], "kept": [7]}).to_csv(tmp_path / "data_counts.csv")
    return tmp_path


def test_the_report_is_whole_and_needs_no_network(folder, config):
    runs = read_runs(folder / "rows")
    figures = draw_figures(runs, config)
    page = write_report(folder, config, runs, figures).read_text()
    assert (
        not re.search(r"""(src|href)=["'](?!data:|#)""", page)
        and "url(" not in page
        and "@import" not in page
    )
    images = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    stored = {path.stem: cv2.imread(str(path)) for path in (folder / "figures").iterdir()}
    assert set(stored) == set(figures)
    shown = [
        cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), cv2.IMREAD_COLOR) for image in images
    ]
    by_key = lambda pictures: sorted(pictures, key=lambda picture: (picture.shape, picture.mean()))
    for ours, theirs in zip(by_key(shown), by_key(stored.values()), strict=True):
        assert ours.shape == theirs.shape and np.abs(ours.astype(int) - theirs).mean() < 3
    assert "not comparable" in page.split("<h2>")[0] and "open hand" in page
    assert "3.0 min for 3 runs" in page and "all images" in page and "0.95" in page


def test_each_claim_stands_on_the_page_with_its_number_and_source(folder, config):
    for row in ("dgclnet", "similarity"):
        for seed in (0, 1):
            if (row, seed) != ("dgclnet", 0):
                leave_run(folder / "rows", row, seed, level=18)
    runs = read_runs(folder / "rows")
    page = write_report(folder, config, runs, draw_figures(runs, config)).read_text()
    claims = pd.read_csv(folder / "claims.csv").set_index("claim")
    statistics = pd.read_csv(folder / "statistics.csv").set_index(["measure", "row", "minus"])
    assert list(claims.index) == [f"C{k}" for k in range(1, 9)]
    further = statistics.loc[("mpjpe", "similarity", "dgclnet")]
    assert claims.loc["C3", "number"] == further["difference"] and further["claim"] == "C3"
    section = page.split("The paper's claims, answered")[1].split("<h2>")[0]
    assert f"{further['difference']:+.2f} mm".replace("-", "\N{MINUS SIGN}") in section
    assert 'title="statistics.csv, from rows/*/samples.csv, mpjpe_mm' in section
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page
    assert claims.loc["C1", "verdict"] == claims.loc["C7", "verdict"] == "not measured"


def test_the_cost_of_inference_outlives_the_checkpoints(folder, config):
    runs = read_runs(folder / "rows")
    cost = pd.DataFrame({"row": ["baseline", "dgclnet", "similarity"], "weights": 7})
    cost = cost.assign(training_only_weights=[0, 3, 3], mflop=5.0, milliseconds=1.0)
    for given in (cost, None):
        write_report(folder, config, runs, {}, cost=given)
        assert pd.read_csv(folder / "claims.csv").set_index("claim").loc["C7", "verdict"] == "supported"


def test_page_csv_and_metrics_say_the_same(folder, config):
    runs = read_runs(folder / "rows")
    page = write_report(folder, config, runs, {}).read_text()
    baseline = table_2(runs).set_index("row").loc["baseline"]
    assert f"{baseline['mpvpe_mm']:.2f} ± {baseline['mpvpe_sd_mm']:.2f}" in page
    stored = pd.read_csv(folder / "table2.csv").set_index("row").loc["baseline"]
    assert stored["mpvpe_mm"] == pytest.approx(baseline["mpvpe_mm"], abs=1e-4)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["baseline"]["mpvpe_mm"] == baseline["mpvpe_mm"] and metrics["baseline"]["seeds"] == 2
    assert "mpjpe_sd_mm" not in metrics["mean"]  # one seed has no spread


def test_what_runs_say_is_escaped_and_differences_are_shown(folder, config):
    leave_run(folder / "rows", "flip", 0, parameters={"a": {"b": "other"}})
    page = write_report(folder, config, read_runs(folder / "rows"), {}).read_text()
    assert "&lt;script&gt;" in page and "<script" not in page
    assert "a.b" in page.split("<h2>")[0] and "flip-0" in page.split("<h2>")[0]
