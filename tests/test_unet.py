import pytest
import torch
from torch_geometric.nn import GraphUNet as PyGGraphUNet
from torch_geometric.utils import dense_to_sparse

from handdgcl.model.unet import GraphUNet, pool, two_hops


def random_graph(count, generator):
    adjacency = (torch.rand(count, count, generator=generator) < 0.15).float().triu(1)
    chain = torch.diag(torch.ones(count - 1), 1)
    return ((adjacency + chain) > 0).float() + ((adjacency + chain) > 0).float().T


# PyG's sparse matrices
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning", "ignore:Sparse CSR:UserWarning")
def test_equals_pyg_graph_by_graph():
    generator = torch.Generator().manual_seed(0)
    adjacency = random_graph(31, generator)
    torch.manual_seed(1)
    oracle = PyGGraphUNet(6, 9, 6, depth=3, pool_ratios=[0.9, 0.8, 0.7])
    ours = GraphUNet(6, 9, [0.9, 0.8, 0.7])
    state = {
        name.replace(".select.weight", ""): value.flatten() if "select" in name else value
        for name, value in oracle.state_dict().items()
    }
    ours.load_state_dict(state)
    x = torch.randn(4, 31, 6, generator=generator)
    edges, _ = dense_to_sparse(adjacency)
    y = ours(x, adjacency)
    for one, expected in zip(x, y, strict=True):
        assert torch.allclose(oracle(one, edges), expected, atol=1e-5)


def test_batch_is_a_loop_of_singles_and_every_parameter_gets_a_gradient():
    generator = torch.Generator().manual_seed(2)
    adjacency = random_graph(20, generator)
    torch.manual_seed(3)
    net = GraphUNet(5, 7, [0.9, 0.5])
    x = torch.randn(3, 20, 5, generator=generator)
    y = net(x, adjacency)
    assert torch.allclose(y, torch.cat([net(one[None], adjacency) for one in x]), atol=1e-6)
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_pool_keeps_the_highest_scores_among_nodes_that_are_there():
    x = torch.tensor([[[3.0], [1.0], [2.0], [-1.0]]])
    there = torch.tensor([[True, True, True, True]])
    for count, expected in ((2, [True, False, True, False]), (1, [False, True, False, False])):
        score, there = pool(x, there, torch.tensor([2.0 if count == 2 else -2.0]), count)
        if count == 2:
            assert there.tolist() == [expected]
            there = torch.tensor([[True, True, True, False]])
    assert there.tolist() == [expected]  # -1 would project farther, and is gone
    assert torch.allclose(score, torch.tanh(-x[..., 0]))


def test_two_hops_are_those_of_the_nodes_that_stay():
    generator = torch.Generator().manual_seed(4)
    adjacency = random_graph(12, generator)
    there = torch.rand(3, 12, generator=generator) < 0.6
    looped = adjacency + torch.eye(12)
    for edges, nodes in zip(two_hops(looped, there), there, strict=True):
        squared = (looped @ looped).fill_diagonal_(1)
        assert torch.equal(edges[nodes][:, nodes], squared[nodes][:, nodes])
        assert torch.equal(edges[~nodes], torch.eye(12)[~nodes])
        assert torch.equal(edges[:, ~nodes], torch.eye(12)[:, ~nodes])
