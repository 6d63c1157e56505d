import numpy as np
import torch

from handdgcl.data.store import Store
from handdgcl.model.disturb import RandomEdges
from handdgcl.report.lessons import (
    contact_table,
    draw_disturbance,
    draw_samples,
    node_places,
    verdict,
)


def test_the_picture_of_a_disturbance_counts_its_edges(hands, tiny_config):
    places = node_places(hands, tiny_config.graph.nodes)
    count = tiny_config.graph.nodes[0]
    assert places.shape == (count, 2)
    adjacency = torch.diag(torch.ones(count - 1), 1)
    adjacency = adjacency + adjacency.T
    graph = torch.randn(1, 2, count, 4, generator=torch.Generator().manual_seed(0))
    _, changed = RandomEdges(0.5, flip=False)(graph, adjacency, torch.Generator().manual_seed(0))
    figure = draw_disturbance((graph[0, 0], adjacency), (graph[0, 0], changed), places)
    assert f"+{round(0.5 * (count - 1))} -0 edges" in figure.axes[1].get_title()


def test_hands_that_are_one_another_penetrate_and_distant_ones_do_not(hands):
    together = hands.template[None].clone()
    together[:, 0] = together[:, 1] + 0.002
    apart = together.clone()
    apart[:, 1] += 0.5
    table = contact_table(torch.cat([together, apart]), hands)
    assert table["penetration_mm"][0] > 1
    assert table["distance_mm"][0] == 0
    assert table["penetration_mm"][1] == 0
    assert table["distance_mm"][1] > 100


def test_samples_are_drawn_on_the_picture(tiny_store, hands):
    raw = Store(tiny_store / "test").batch([0, 1])
    figure = draw_samples(raw, hands)
    image, skeleton, mesh = (figure.axes[2 * row].images[0].get_array() for row in range(3))
    assert image.shape == skeleton.shape == mesh.shape
    assert (skeleton != image).any()
    assert (mesh != image).any()


def test_a_verdict_says_which_way_and_why():
    assert verdict("x", matches=False, because="y") == "NO MATCH with the paper's claim that x: y"
    assert verdict("x", matches=np.bool_(True), because="y").startswith("MATCH")
    assert verdict("x", matches=True, because="y", within_noise=True).startswith("WITHIN NOISE")
