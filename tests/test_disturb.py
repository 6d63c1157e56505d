import pytest
import torch

from handdgcl.config import Disturb
from handdgcl.errors import InputError
from handdgcl.model.disturb import build_disturbance
from handdgcl.rows import ROWS, get_row

SETTINGS = Disturb(mask=0.25, noise=0.5, edge=0.2, flip=0.3, unet_features=6, unet_keep=[0.9, 0.8, 0.7])
N, F = 40, 64


@pytest.fixture
def adjacency():
    ring = torch.roll(torch.eye(N), 1, 0)
    return ring + ring.T


@pytest.fixture
def graph():
    return torch.randn(8, 2, N, F, generator=torch.Generator().manual_seed(0))


def disturb(name, graph, adjacency, seed=0):
    torch.manual_seed(0)
    return build_disturbance(name, F, SETTINGS)(graph, adjacency, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["mask", "noise", "edge", "flip", "unet"])
def test_shapes_seeds_and_untouched_inputs(name, graph, adjacency):
    before = graph.clone(), adjacency.clone()
    first, second, other = (disturb(name, graph, adjacency, seed) for seed in (1, 1, 2))
    assert torch.equal(graph, before[0]) and torch.equal(adjacency, before[1])
    assert first[0].shape == graph.shape and first[1].shape == adjacency.shape
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    changed = not (torch.equal(first[0], other[0]) and torch.equal(first[1], other[1]))
    assert changed == (name != "unet")  # F_gen draws nothing


def test_mask_removes_whole_channels_at_the_stated_share(graph, adjacency):
    masked, same = disturb("mask", graph, adjacency)
    assert same is adjacency
    gone = (masked == 0).all(2)  # [B,H,F]: over all nodes
    assert torch.equal(masked, torch.where(gone[:, :, None], torch.zeros(()), graph))
    assert gone.float().mean() == pytest.approx(0.25, abs=0.05)
    assert not torch.equal(gone[0, 0], gone[1, 0]) and not torch.equal(gone[0, 0], gone[0, 1])


def test_noise_has_the_stated_deviation(graph, adjacency):
    noisy, _ = disturb("noise", graph, adjacency)
    assert (noisy - graph).std() == pytest.approx(0.5, rel=0.02)


def test_random_edges_only_add_and_flips_also_remove(graph, adjacency):
    for name, share in (("edge", 0.2), ("flip", 0.3)):
        same, changed = disturb(name, graph, adjacency)
        assert same is graph
        assert torch.equal(changed, changed.T) and not changed.diagonal().any()
        assert set(changed.unique().tolist()) <= {0.0, 1.0}
        differing = (changed != adjacency).triu().sum()
        assert differing == round(share * N)  # a ring has N edges
        if name == "edge":
            assert (changed >= adjacency).all()
    dense = torch.ones(N, N) - torch.eye(N)
    assert (disturb("flip", graph, dense)[1] <= dense).all()
    assert torch.equal(disturb("edge", graph, dense)[1], dense)  # nothing is left to add


def test_generated_graph_is_normalised_and_its_bottleneck_changes_it(graph, adjacency):
    generated, _ = disturb("unet", graph, adjacency)
    assert generated.mean(-1).abs().max() < 1e-5
    assert (generated - graph).square().mean() > 0.1


def test_rows_are_the_papers_seven_and_differ_as_table_2_says():
    assert [row.paper_mpjpe_mm for row in ROWS.values()] == [9.97, 10.35, 10.56, 10.59, 10.92, 9.02, 8.86]
    assert [row.disturbance for row in ROWS.values()] == [
        None,
        "mask",
        "noise",
        "edge",
        "flip",
        "unet",
        "unet",
    ]
    assert [name for name, row in ROWS.items() if row.cross] == ["similarity"]
    with pytest.raises(InputError, match="row 'dgcl': there is none; the rows are baseline, mask"):
        get_row("dgcl")
