import pytest
import torch
from torch_geometric.nn import GraphUNet as PyGGraphUNet
from torch_geometric.utils import dense_to_sparse

from handdgcl.model.unet import GraphUNet


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
