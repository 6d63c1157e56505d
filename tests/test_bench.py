"""The benchmark on a tiny model: that a ratio is measured right, and that every figure can be measured."""

import json

import msgspec
import numpy as np
import pytest
import torch

from handdgcl import bench
from handdgcl.bench import Bench, alternate, data, inference, training, write_results


def test_both_sides_take_turns_and_the_ratio_of_their_times_is_measured(monkeypatch):
    now, calls = 0.0, []

    def work(name, seconds):
        durations = iter(seconds)

        def run():
            nonlocal now
            calls.append(name)
            now += next(durations)

        return run

    monkeypatch.setattr(bench, "perf_counter", lambda: now)
    ours, bare = alternate(work("ours", [90, 1, 2, 6]), work("bare", [1, 2, 2, 2]), rounds=3)
    assert calls == ["ours", "bare"] * 4
    assert ours.tolist() == [1, 2, 6] and bare.tolist() == [2, 2, 2]  # without the first round


@pytest.mark.parametrize(
    ("sign", "bar", "met"), [("≤", 2.0, True), ("≤", 1.9, False), ("≥", 2.0, True), ("≥", 2.1, False)]
)
def test_a_median_meets_its_bar_or_does_not(tmp_path, sign, bar, met):
    write_results(tmp_path, [("a ÷ b", np.array([1.0, 5.0, 2.0]), sign, bar)])
    written = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    (found,) = written["figures"]
    assert (found["lower quartile"], found["median"], found["upper quartile"]) == (1.5, 2.0, 3.5)
    assert found["met"] is met and found["rounds"] == [1.0, 5.0, 2.0]
    page = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "a ÷ b" in page and written["commit"] in page and f"torch {written['torch']}" in page


def test_every_figure_can_be_measured(tiny_config, tiny_store, hands, tmp_path, monkeypatch):
    for constant in ("SAMPLES", "GENERATED"):
        monkeypatch.setattr(bench, constant, 3)
    train = msgspec.structs.replace(tiny_config.train, precision="bf16-mixed")
    large = msgspec.structs.replace(tiny_config, profile="large", train=train)
    dataset = tiny_store.parent / "interhand"
    tiny = Bench(large, tiny_config, hands, dataset, tmp_path, torch.device("cpu"), rounds=1)
    figures = [*training(tiny), *inference(tiny), *data(tiny)]
    assert len({title for title, *_ in figures}) == len(figures) == 13
    for _, rounds, _, _ in figures:
        assert len(rounds) and np.isfinite(rounds).all() and (rounds > 0).all()
