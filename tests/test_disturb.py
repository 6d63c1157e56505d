import msgspec
import pytest
import torch

from handdgcl.config import UNet
from handdgcl.files import InputError
from handdgcl.model.disturb import FlippedEdges, Generated, RandomEdges, RandomMask, RandomNoise
from handdgcl.rows import ROWS, TABLE_2, get_row, parameters, rate, strength

N, F = 40, 64
UNET = UNet(features=6, keep=[0.9, 0.8, 0.7])
MAKE = {
    "mask": lambda: RandomMask(0.25),
    "noise": lambda: RandomNoise(0.5),
    "edge": lambda: RandomEdges(0.2),
    "flip": lambda: FlippedEdges(0.3),
    "unet": lambda: Generated(0.5, features=F, settings=UNET),
}


@pytest.fixture
def adjacency():
    ring = torch.roll(torch.eye(N), 1, 0)
    return ring + ring.T


@pytest.fixture
def graph():
    return torch.randn(8, 2, N, F, generator=torch.Generator().manual_seed(0))


def disturb(name, graph, adjacency, seed=0):
    torch.manual_seed(0)
    return MAKE[name]()(graph, adjacency, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", list(MAKE))
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


def test_generated_graph_moves_with_alpha(graph, adjacency):
    cosines = []
    for alpha in (0.0, 0.3, 1.0, 3.0):
        torch.manual_seed(0)
        net = Generated(alpha, features=F, settings=UNET)
        generated, _ = net(graph, adjacency, torch.Generator())
        cosines.append(torch.nn.functional.cosine_similarity(generated.flatten(1), graph.flatten(1)).mean())
    assert cosines[0] > 0.98 and cosines == sorted(cosines, reverse=True)


def test_strengths_out_of_range_are_refused():
    for make, wrong in ((RandomMask, 1.5), (FlippedEdges, 2.0), (RandomNoise, -0.1)):
        with pytest.raises(InputError, match=f"disturb.{make.name} = {wrong}"):
            make(wrong)
    assert RandomNoise(2.0).strength == 2 and RandomMask().strength == RandomMask.strength


def test_rows_differ_as_table_2_says(tiny_config):
    assert [ROWS[name].paper_mm[0] for name in TABLE_2] == [9.97, 10.35, 10.56, 10.59, 10.92, 9.02, 8.86]
    assert [name for name in TABLE_2 if "cross" in ROWS[name].terms] == ["similarity"]
    assert all("self" in ROWS[name].terms for name in TABLE_2 if name != "baseline")
    with pytest.raises(InputError, match="row 'dgcl'"):
        get_row("dgcl")
    unknown = msgspec.structs.replace(tiny_config, disturb={"maks": 0.1})
    with pytest.raises(InputError, match=r"disturb\.maks"):
        strength(get_row("mask"), unknown)


def test_a_parameter_decides_the_rows_that_use_it(tiny_config):
    users = {
        key: {name for name, row in ROWS.items() if key in parameters(row, tiny_config)}
        for key in ("loss.contrast", "loss.consistent", "loss.cross", "loss.joints_3d", "unet")
    }
    assert users["loss.contrast"] == {n for n, row in ROWS.items() if "self" in row.terms}
    assert users["loss.cross"] == {"similarity"} and users["loss.joints_3d"] == set(ROWS)
    assert users["unet"] == {n for n, row in ROWS.items() if row.disturbance is Generated}
    stronger = msgspec.structs.replace(tiny_config, disturb={"mask": 0.9})
    assert parameters(get_row("mask"), stronger) != parameters(get_row("mask"), tiny_config)
    assert parameters(get_row("baseline"), stronger) == parameters(get_row("baseline"), tiny_config)
    slower = msgspec.structs.replace(tiny_config, rates={"mask": 1e-5})
    assert parameters(get_row("mask"), slower)["train"]["lr"] == 1e-5
    assert parameters(get_row("edge"), slower) == parameters(get_row("edge"), tiny_config)
    with pytest.raises(InputError, match="maks"):
        rate(get_row("mask"), msgspec.structs.replace(tiny_config, rates={"maks": 1e-5}))
