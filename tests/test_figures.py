import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from handdgcl.report.figures import LOOKS, draw_graph, learning_curves, node_places, row_look
from handdgcl.rows import ROWS

CURVES = pd.DataFrame(
    {
        "title": ["GCN baseline"] * 4 + ["GCN + flip edge"] * 4,
        "seed": [0, 0, 1, 1] * 2,
        "epoch": [1, 2] * 4,
        "val_mpjpe_mm": [9.0, 7, 11, 5, 8, 8, 8, 4],
        "train_self": [float("nan")] * 4 + [-3.0, -2, -3, -2],
    }
)


def test_every_row_has_its_own_look_and_one_of_yours_gets_one():
    assert set(LOOKS) == {"mean", *ROWS} and len(set(LOOKS.values())) == len(LOOKS)
    titles = pd.Series(["GCN baseline", "mine", "GCN baseline", "yours"])
    look = row_look(titles)
    assert look["hue_order"] == ["GCN baseline", "mine", "yours"]
    assert look["palette"]["GCN baseline"] == LOOKS["baseline"][0]
    assert len(set(look["palette"].values())) == len(set(look["markers"].values())) == 3


def test_curves_are_means_over_seeds_in_a_panel_for_each_column_there_is():
    grid = learning_curves(CURVES, {"val_mpjpe_mm": "Error (mm)", "train_self": "Self", "absent": "x"})
    assert [ax.get_title() for ax in grid.axes.flat] == ["Error (mm)", "Self"]
    drawn = {
        line.get_color(): list(line.get_ydata()) for line in grid.axes.flat[0].lines if len(line.get_ydata())
    }
    assert drawn == {LOOKS["baseline"][0]: [10, 6], LOOKS["flip"][0]: [8, 6]}


def test_a_graph_is_drawn_with_what_was_added_and_removed(hands, tiny_config):
    places = node_places(hands, tiny_config.graph.nodes)
    count = tiny_config.graph.nodes[0]
    assert places.shape == (count, 2)
    before = torch.diag(torch.ones(count - 1), 1)
    before = before + before.T
    after = before.clone()
    after[0, 1] = after[1, 0] = 0
    after[0, 5] = after[5, 0] = after[0, 6] = after[6, 0] = 1
    ax = Figure().subplots()
    draw_graph(ax, after, places, reference=before)
    kept, added, removed = ax.collections[:3]
    assert [len(lines.get_segments()) for lines in (kept, added, removed)] == [count - 2, 2, 1]
    assert added.get_segments()[0].tolist() == places[[0, 5]].tolist()
    draw_graph(ax, after, places)
    assert [len(lines.get_segments()) for lines in ax.collections[4:7]] == [count, 0, 0]
    assert places[:, 1].max() == pytest.approx(-float(hands.template[1, :, 2].min()), abs=0.05)  # fingers up


def test_all_rows_can_be_drawn_together():
    """seaborn refuses filled and line-art markers in one figure."""
    titles = [row.title for row in ROWS.values()]
    curves = pd.DataFrame({"title": titles * 2, "epoch": [1, 2] * len(titles), "val_mpjpe_mm": 1.0})
    assert learning_curves(curves, {"val_mpjpe_mm": "error"}).axes.size == 1
