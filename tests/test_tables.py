"""The report's tables against an independent reading of the per-sample files."""

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import MACHINE, leave_run

from handdgcl.errors import InputError
from handdgcl.report.runs import parameter_differences, provenance, read_runs
from handdgcl.report.tables import table_1, table_2, write_csv
from handdgcl.rows import ROWS


@pytest.fixture
def rows(tmp_path):
    leave_run(tmp_path, "mean", 0, level=45)
    for seed in (0, 1, 2):
        leave_run(tmp_path, "baseline", seed)
        leave_run(tmp_path, "similarity", seed, level=18)
    return tmp_path


def plain_mean(folder, column):
    with open(folder / "samples.csv") as file:
        return statistics.fmean(float(line[column]) for line in csv.DictReader(file))


def test_table_2_is_what_the_samples_say(rows):
    table = table_2(read_runs(rows)).set_index("row")
    ours = {
        row: [plain_mean(rows / f"{row}-{s}", "mpvpe_mm") for s in range(3)]
        for row in ("baseline", "similarity")
    }
    gain = [a - b for a, b in zip(ours["similarity"], ours["baseline"], strict=True)]
    line = table.loc["similarity"]
    assert line["mpvpe_mm"] == pytest.approx(statistics.fmean(ours["similarity"]))
    assert line["mpvpe_sd_mm"] == pytest.approx(statistics.stdev(ours["similarity"]))
    assert line["mpvpe_difference_mm"] == pytest.approx(statistics.fmean(gain))
    assert line["mpvpe_difference_sd_mm"] == pytest.approx(statistics.stdev(gain))
    assert line["paper_mpvpe_difference_mm"] == -1.49 and line["seeds"] == 3
    assert table.loc["mean", ["mpjpe_difference_mm", "mpjpe_sd_mm", "paper_mpjpe_mm"]].isna().all()
    assert list(table.index) == ["mean", *ROWS]
    assert np.isnan(table.loc["noise", "mpjpe_mm"]) and table.loc["noise", "paper_mpjpe_mm"] == 10.56


def test_the_committed_table_is_what_the_committed_samples_say():
    folder = Path(__file__).parents[1] / "reports" / "default"
    table = pd.read_csv(folder / "table2.csv").set_index("row")
    for column in ("mpjpe_mm", "mpvpe_mm"):
        means = {path.name: plain_mean(path, column) for path in (folder / "rows").iterdir()}
        for row, line in table.iterrows():
            seeds = [name for name in means if name.rsplit("-", 1)[0] == row]
            assert len(seeds) == line["seeds"]
            assert line[column] == pytest.approx(statistics.fmean(means[name] for name in seeds), abs=1e-4)
            if row not in ("mean", "baseline"):
                gain = [means[name] - means[name.replace(row, "baseline")] for name in seeds]
                difference = line[column.replace("_mm", "_difference_mm")]
                assert difference == pytest.approx(statistics.fmean(gain), abs=2e-4)


def test_table_1_marks_what_is_quoted(rows):
    table = table_1(read_runs(rows), data="open hand")
    quoted = table[table["source"] == "quoted"]
    assert len(quoted) == 7 and quoted["seeds"].isna().all() and set(quoted["data"]) == {"InterHand2.6M"}
    measured = table[table["source"] == "measured"].set_index("method")
    assert measured.loc["Mean hand (no image), ours", "mpjpe_mm"] == pytest.approx(
        plain_mean(rows / "mean-0", "mpjpe_mm")
    )
    assert list(measured["data"].unique()) == ["open hand"] and len(measured) == 3
    full_method = table.set_index("method").loc["HandDGCL (Han et al. 2023)"]
    assert full_method["mpjpe_mm"] == ROWS["similarity"].paper_mpjpe_mm


def test_a_table_reads_back(rows, tmp_path):
    table = table_2(read_runs(rows))
    write_csv(table, tmp_path / "new" / "table2.csv")
    again = pd.read_csv(tmp_path / "new" / "table2.csv").astype({"seeds": "Int64"})
    pd.testing.assert_frame_equal(again, table, atol=1e-4)


def test_different_origins_are_listed(rows):
    leave_run(rows, "mask", 0, commit="beef", machine=MACHINE | {"accelerator": "Some GPU"})
    origin = provenance(read_runs(rows)).set_index("commit")
    assert list(origin.loc["beef"]) == ["Some CPU, 2 cores, 24 GiB, Some GPU", "mask-0"]
    assert "baseline-2" in origin.loc["c0ffee", "runs"] and len(origin) == 2
    leave_run(rows, "mask", 1, trained_at="decaf")
    origin = provenance(read_runs(rows)).set_index("commit")
    assert origin.loc["c0ffee (trained at decaf)", "runs"] == "mask-1" and len(origin) == 3


def test_different_parameters_are_listed(rows):
    assert parameter_differences(read_runs(rows)) == {}
    leave_run(rows, "mask", 1, parameters={"a": {"b": 2}, "seeds": [1]})
    found = parameter_differences(read_runs(rows))
    assert list(found) == ["a.b"] and found["a.b"]["2"] == ["mask-1"] and "baseline-0" in found["a.b"]["1"]


def test_a_run_without_baseline_has_no_difference(tmp_path):
    leave_run(tmp_path, "mask", 0)
    assert table_2(read_runs(tmp_path))["mpjpe_difference_mm"].isna().all()


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: change(f / "metrics.json", metrics={"mpjpe_mm": 19.0}),
            r"baseline-1: mpjpe_mm is 19.0 in metrics.json",
        ),
        (
            lambda f: change(f / "metrics.json", row="best"),
            r"unknown row 'best'; the rows are mean, baseline",
        ),
        (lambda f: (f / "metrics.json").write_text("{"), r"metrics.json: not JSON"),
        (lambda f: (f / "metrics.json").write_text("{}"), r"metrics.json: 'commit' is missing"),
        (lambda f: (f / "samples.csv").unlink(), r"samples.csv: no such file"),
        (lambda f: (f / "samples.csv").write_text(""), r"samples.csv: not a table"),
        (
            lambda f: (f / "samples.csv").write_text("hand\nleft\n"),
            r"samples.csv: column 'image_id' is missing",
        ),
    ],
)
def test_runs_that_do_not_fit_are_refused(rows, spoil, message):
    spoil(rows / "baseline-1")
    with pytest.raises(InputError, match=message):
        read_runs(rows)


def test_runs_on_other_samples_and_no_runs_are_refused(rows, tmp_path):
    leave_run(rows, "flip", 0, images=5)
    with pytest.raises(InputError, match="flip-0 and mean-0 were measured on different samples"):
        read_runs(rows)
    with pytest.raises(InputError, match="no run has left"):
        read_runs(tmp_path / "nowhere")
