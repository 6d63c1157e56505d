import numpy as np
import pytest
import torch

from handdgcl.data.store import Store
from handdgcl.evaluate.branches import Features
from handdgcl.evaluate.features import Looked, correlation, nearest, similarities
from handdgcl.report.neighbours import draw_agreement, draw_branches, draw_neighbours, draw_probe


@pytest.fixture
def looked(tiny_store, hands):
    """Features of chance and the poses of the store's own images, of two subjects."""
    val = Store(tiny_store / "val")
    positions = np.arange(6)
    random = torch.Generator().manual_seed(0)
    graph, graph_k = (torch.randn(6, 2, 5, features, generator=random) for features in (4, 3))
    joints = hands.joints(val.vertices(positions))
    seen = Features(graph, graph + 0.1, graph_k, graph_k.flip(0), joints)
    subject = positions % 2
    return Looked(seen, seen, None, positions, subject[:, None] != subject)


def test_neighbours_are_drawn_with_their_similarity(looked, tiny_store, hands):
    figure = draw_neighbours(looked, Store(tiny_store / "val"), hands, queries=2, count=2)
    axes = np.array(figure.axes).reshape(2, 5)
    S_p, S_g = similarities(looked.seen.graph_k, looked.seen.joints)
    for line, asked in zip(axes, (0, 5), strict=True):
        expected = [*nearest(S_p, looked.foreign, 2)[asked], *nearest(S_g, looked.foreign, 2)[asked]]
        labels = [axis.get_xlabel() for axis in line[1:]]
        assert labels == [f"$S_g$ {S_g[asked, k]:.2f}" for k in expected]
    assert (axes[0, 0].images[0].get_array() != axes[0, 1].images[0].get_array()).any()
    # Of either subject there are three other images: no more can be shown.
    assert len(draw_neighbours(looked, Store(tiny_store / "val"), hands, count=9).axes) == 4 * (1 + 2 * 3)


def test_agreement_says_its_correlation_and_skips_what_is_not_there(looked):
    graphs = {"before": looked.first, "after": looked.seen.graph_k}
    panel, _ = draw_agreement(graphs, looked.seen.joints).axes  # and the scale of colours
    r = correlation(*similarities(looked.seen.graph_k, looked.seen.joints))
    assert panel.get_title() == f"after: r = {r:.2f}"
    assert panel.collections[0].get_array().sum() == 6 * 5  # every ordered pair once


def test_branches_and_probe_draw_what_was_measured(looked):
    distance, _ = draw_branches(looked.seen).axes
    assert distance.get_xlabel().startswith("distance")
    bars = (
        draw_probe({"probe_none_mm": 3.0, "probe_graph_mm": 1.0, "probe_disturbed_mm": 2.0}).axes[0].patches
    )
    assert [bar.get_width() for bar in bars] == [3, 1, 2]
