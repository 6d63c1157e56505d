import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from torch_geometric.nn import ChebConv as PyGChebConv
from torch_geometric.utils import dense_to_sparse

from handdgcl.hands.topology import LEFT, RIGHT
from handdgcl.model.graph import (
    ChebConv,
    build_hierarchy,
    chebyshev_basis,
    laplacian_eigenvectors,
    nodes_first,
    nodes_third,
)


@pytest.fixture(scope="module")
def hierarchy(hands):
    return build_hierarchy(hands.template[RIGHT].numpy(), hands.faces[RIGHT].numpy(), [63, 252])


def test_levels_are_nested_connected_graphs_without_self_loops(hierarchy):
    assert [len(level) for level in hierarchy.nodes] == [63, 252, 778]
    assert len(set(hierarchy.nodes[1])) == 252
    assert set(hierarchy.nodes[0]) <= set(hierarchy.nodes[1])
    for adjacency in hierarchy.adjacency:
        assert (adjacency == adjacency.T).all() and not adjacency.diagonal().any()
        assert connected_components(adjacency)[0] == 1


def test_finest_graph_is_the_mesh(hierarchy, hands):
    faces = hands.faces[RIGHT].numpy()
    expected = np.zeros((778, 778))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        expected[faces[:, a], faces[:, b]] = expected[faces[:, b], faces[:, a]] = 1
    assert (hierarchy.adjacency[-1] == expected).all()


def test_interpolation_keeps_constants_and_coarse_nodes_and_is_local(hierarchy, hands):
    for coarse, fine, matrix in zip(hierarchy.nodes, hierarchy.nodes[1:], hierarchy.upsample, strict=False):
        assert matrix.sum(1) == pytest.approx(1, abs=1e-6)
        shared = [list(fine).index(node) for node in coarse]
        assert (matrix[shared] == np.eye(len(coarse))).all()
    # A smooth function of the surface survives: positions come back within some millimetres.
    template = hands.template[RIGHT].numpy()
    error = np.linalg.norm(hierarchy.upsample[-1] @ template[hierarchy.nodes[1]] - template, axis=1)
    assert 1000 * error.mean() < 2


def test_mirrored_hand_has_the_same_hierarchy(hierarchy, hands):
    left = build_hierarchy(hands.template[LEFT].numpy(), hands.faces[LEFT].numpy(), [63, 252])
    for ours, theirs in zip(hierarchy.nodes + hierarchy.upsample, left.nodes + left.upsample, strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_chebyshev_layer_equals_pyg(hierarchy, order):
    torch.manual_seed(0)
    adjacency = torch.as_tensor(hierarchy.adjacency[0])
    ours, oracle = ChebConv(8, 5, order), PyGChebConv(8, 5, order, normalization="sym")
    with torch.no_grad():
        for k, linear in enumerate(oracle.lins):
            linear.weight.copy_(ours.linear.weight[:, 8 * k : 8 * k + 8])
        oracle.bias.copy_(ours.linear.bias)
    x = torch.randn(4, 2, 63, 8)
    y = nodes_third(ours(nodes_first(x), chebyshev_basis(adjacency, order)))
    edges, _ = dense_to_sparse(adjacency)
    for sample in range(4):
        for hand in range(2):
            assert torch.allclose(y[sample, hand], oracle(x[sample, hand], edges), atol=1e-5)


def test_basis_is_bounded_and_survives_lonely_nodes():
    adjacency = torch.zeros(5, 5)
    adjacency[0, 1] = adjacency[1, 0] = 1
    basis = chebyshev_basis(adjacency, 4)
    assert basis.isfinite().all()
    assert torch.linalg.eigvalsh(basis).abs().max() <= 1 + 1e-5  # |T_k| <= 1 on [-1, 1]


def test_eigenvectors_are_the_laplacians_and_know_no_numbering(hierarchy):
    adjacency = hierarchy.adjacency[0]
    vectors = laplacian_eigenvectors(adjacency, 16)
    scale = adjacency.sum(1) ** -0.5
    laplacian = np.eye(63) - scale[:, None] * adjacency * scale
    values = (vectors * (laplacian @ vectors)).sum(0) / 63
    assert np.allclose(laplacian @ vectors, values * vectors, atol=1e-4)
    assert values == pytest.approx(np.linalg.eigvalsh(laplacian)[1:17], abs=1e-4)
    assert (vectors**2).mean(0) == pytest.approx(1, abs=1e-4)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(63)
        renumbered = laplacian_eigenvectors(adjacency[order][:, order], 16)
        assert np.allclose(renumbered, vectors[order], atol=1e-3)


def test_the_embedding_follows_the_mesh_however_it_is_numbered(hierarchy, hands):
    vertices, faces = hands.template[RIGHT].numpy(), hands.faces[RIGHT].numpy()
    order = np.random.default_rng(0).permutation(len(vertices))  # new number -> old
    new = np.argsort(order)
    other = build_hierarchy(vertices[order], new[faces], [63, 252])
    embedding = lambda nodes, adjacency: dict(zip(nodes, laplacian_eigenvectors(adjacency, 16), strict=True))
    ours = embedding(hierarchy.nodes[0].tolist(), hierarchy.adjacency[0])
    theirs = embedding(order[other.nodes[0]].tolist(), other.adjacency[0])
    assert set(ours) == set(theirs)
    assert all(np.allclose(theirs[node], value, atol=1e-3) for node, value in ours.items())
