"""The benchmark: its arithmetic on a clock of our own, its files, and every figure once on a tiny model."""

import json
import pkgutil

import numpy as np
import pytest

from handdgcl.bench import feeding, making
from handdgcl.bench.__main__ import GROUPS
from handdgcl.bench.annotation_files import CAMERAS, write_annotations
from handdgcl.bench.measure import Figure, alternate, cost, resident_bytes, speed
from handdgcl.bench.results import line, table, write_results
from handdgcl.data.annotations import decode
from handdgcl.data.interhand import read_split

STARTS_PROCESSES = {"memory", "annotations"}
IN_TEST_GROWTH = {"growth", "samples"}


class Clock:
    """Time that passes only where work says so."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        durations = iter(seconds)

        def run():
            self.calls.append(name)
            self.now += next(durations)

        return run


def test_both_sides_take_turns_and_warm_up_does_not_count():
    clock = Clock()
    ours, bare = clock.work("ours", [90, 90, 1, 2, 6]), clock.work("bare", [1, 1, 2, 2, 2])
    times = alternate(ours, bare, rounds=3, warm_up=2, clock=clock)
    assert clock.calls == ["ours", "bare"] * 5
    assert times.tolist() == [[1, 2], [2, 2], [6, 2]]
    figure = cost("step", times, bar=1.0, about={"batch": 8})
    assert figure.values == [0.5, 1.0, 3.0] and figure.quartiles() == (0.75, 1.0, 2.0)
    assert figure.met() and figure.about == {"batch": 8, "seconds": 2.0, "bare_seconds": 2.0}
    assert speed("data", times, bar=1.01).values == [2.0, 1.0, pytest.approx(1 / 3)]
    assert not speed("data", times, bar=1.01).met() and speed("data", times, bar=1.0).met()


def test_a_line_says_whether_the_bar_is_met():
    assert (
        line(Figure("a", [1.04, 1.05, 1.09], bar=1.06)) == "| a | cpu | 1.05 | 1.045 to 1.07 | ≤ 1.06 | yes |"
    )
    assert line(Figure("a", [70.0], unit="images/s", bar=80.0, at_least=True)).endswith("| ≥ 80 | **no** |")
    assert line(Figure("a", [1234.4])).split(" | ")[2:] == ["1234", "1234 to 1234", "", " |"]


def test_results_say_what_they_depend_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "123")
    figure = Figure("a", [1.0, 3.0], device="cuda", bar=1.5, about={"batch": 4})
    text = write_results(tmp_path, [figure], seconds=12.0, arguments=["--only", "step"])
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["commit"] and record["machine"]["cores"] >= 1 and "torch" in record["versions"]
    assert record["allocator"]["MALLOC_TRIM_THRESHOLD_"] == "123" and record["arguments"] == [
        "--only",
        "step",
    ]
    (kept,) = record["figures"]
    assert (kept["median"], kept["quartiles"], kept["met"]) == (2.0, [1.5, 2.5], False)
    page = (tmp_path / "bench.md").read_text()
    assert page.startswith(text) and text == table([figure])
    assert record["commit"] in page and record["machine"]["processor"] in page


def test_written_annotations_are_read_back(tmp_path):
    images = 250 * CAMERAS + 7  # three sequences
    written = write_annotations(tmp_path, "train", images)
    assert written == sum(path.stat().st_size for path in tmp_path.rglob("*.json"))
    selection = read_split(tmp_path, "train", progress=False)
    counts = selection.counts.kept.tolist()
    assert counts[:2] == [images, 150 * CAMERAS + 7] and counts[1] > counts[2] > counts[3] > 0.7 * counts[1]
    data = decode(tmp_path, "train", "data")
    by_id = {a.image_id: a for a in data.annotations}
    assert [a.image_id for a in data.annotations] != sorted(by_id) == [image.id for image in data.images]
    assert all(by_id[i].hand_type == "interacting" for i in selection.table.image_id)
    fits = decode(tmp_path, "train", "MANO_NeuralAnnot")
    row = selection.table.iloc[-1]
    pair = selection.fits.pose[selection.fit[-1]]
    np.testing.assert_allclose(pair[0], fits[row.capture][row.frame].left.pose, rtol=1e-6)
    assert len(selection.views.rotation) == 2 * CAMERAS


def test_peak_memory_is_this_process_s():
    before = resident_bytes()[1]
    block = np.ones(2**26)
    now, most = resident_bytes()
    assert most >= now and most - before > 0.8 * block.nbytes - 2**26


@pytest.mark.parametrize("name", sorted(set(GROUPS) - STARTS_PROCESSES - IN_TEST_GROWTH))
def test_every_figure_can_be_measured(name, bench, monkeypatch):
    monkeypatch.setattr(making, "FEW", 1)
    monkeypatch.setattr(making, "MANY", 5)
    monkeypatch.setattr(feeding, "STEPS", {"large": 1, "small": 2})
    figures = list(pkgutil.resolve_name(f"handdgcl.bench.{GROUPS[name]}")(bench))
    assert len({figure.title for figure in figures}) == len(figures) > 0
    assert all(len(figure.values) == 1 and figure.values[0] > 0 for figure in figures)
    assert any(figure.bar is not None for figure in figures)
