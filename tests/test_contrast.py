import numpy as np
import pytest
import torch

from handdgcl.model.contrast import (
    EMPTY,
    Queue,
    cross_contrast,
    embed,
    embed_pose,
    monitors,
    self_contrast,
    similarity,
)


def unit(count, size, seed):
    x = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=1)


def test_self_contrast_is_equation_13_in_numpy():
    S, positive = unit(3, 8, 3), torch.tensor([0, 1, 2])
    excluded = torch.zeros(3, 8, dtype=torch.bool)
    excluded[:, 6:] = excluded[1, 4] = True
    excluded[2, [0, 1, 3, 4, 5]] = True  # nothing but its own copy is left
    value = self_contrast(S, positive, excluded, tau=0.1)
    expected = []
    for row, own, out in zip(S.numpy(), positive.tolist(), excluded.numpy(), strict=True):
        total = sum(np.exp(s / 0.1) for s, gone in zip(row, out, strict=True) if not gone)
        expected.append(np.log(np.exp(row[own] / 0.1) / total))
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(("batch", "pool"), [(4, 10), (16, 300)])
def test_cross_contrast_is_the_norm_of_equation_12_at_the_papers_sizes(batch, pool):
    S_p, S_g = torch.rand(2, batch, pool, generator=torch.Generator().manual_seed(0))
    held = torch.arange(pool) < pool - 3
    norm = np.linalg.norm((S_p - S_g).numpy()[:, :-3])
    expected = norm * np.sqrt(32 * 2048 / (batch * (pool - 3)))
    assert cross_contrast(S_p, S_g, held).item() == pytest.approx(expected, rel=1e-5)


def test_cross_contrast_moves_the_features_and_is_finite_at_its_minimum():
    S_p, S_g = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0))
    S_p.requires_grad_()
    cross_contrast(S_p, S_g, torch.ones(8, dtype=torch.bool)).backward()
    assert ((S_p.grad > 0) == (S_p > S_g)).all()
    same = S_g.clone().requires_grad_()
    cross_contrast(same, S_g, torch.ones(8, dtype=torch.bool)).backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize("of", ["features", "poses"])
def test_products_are_those_of_the_formulas(of, hands):
    generator = torch.Generator().manual_seed(0)
    graph_k = 1 + torch.randn(5, 2, 3, 4, generator=generator)
    joints = hands.joints(hands.template[None]) + 0.01 * torch.randn(5, 2, 21, 3, generator=generator)
    scale = np.linalg.norm((joints[:, :, 9] - joints[:, :, 0]).numpy(), axis=-1)[..., None, None]
    pose = (joints - joints[:, :, [9]]).numpy() / scale
    given, found = (graph_k, embed) if of == "features" else (joints, embed_pose)
    x = (graph_k.numpy() if of == "features" else pose).reshape(5, -1)
    cosine = lambda x: x @ x.T / np.outer(*[np.linalg.norm(x, axis=1)] * 2)
    expected = {"dot": x @ x.T, "cosine": cosine(x), "centred": cosine(x - x.mean(0))}
    for kind, products in expected.items():
        assert np.allclose(found(given, kind) @ found(given, kind).T, products, rtol=1e-3, atol=1e-4), kind
    assert torch.equal(found(given), found(given, "centred"))


def test_a_cosine_is_mapped_to_a_share_and_a_bare_product_is_not():
    assert similarity(torch.tensor([-1.0, 1.0]), "cosine").tolist() == [0, 1]
    assert similarity(torch.tensor([-7.0, 9.0]), "dot").tolist() == [-7, 9]


def test_a_batch_of_one_has_nothing_to_contrast_and_a_finite_gradient():
    graph_k = torch.ones(1, 2, 3, 4, requires_grad=True)
    embed(graph_k).sum().backward()
    assert (embed(graph_k) == 0).all() and (graph_k.grad == 0).all()


def test_queue_is_a_ring_that_keeps_the_newest():
    queue = Queue(5, 1, 1)
    assert (queue.index == EMPTY).all()
    for start in (0, 3, 6):
        entries = torch.arange(start, start + 3)
        queue.add(entries[:, None].float(), entries[:, None].float(), entries)
    assert sorted(queue.index.tolist()) == [4, 5, 6, 7, 8]
    assert (queue.features[:, 0] == queue.index).all() and (queue.poses[:, 0] == queue.index).all()
    queue.add(torch.arange(7.0)[:, None], torch.arange(7.0)[:, None], torch.arange(7))
    assert sorted(queue.index.tolist()) == [2, 3, 4, 5, 6]


def test_monitors_tell_health_from_collapse(hands):
    generator = torch.Generator().manual_seed(0)
    joints = hands.joints(hands.template[None]) + 0.01 * torch.randn(256, 2, 21, 3, generator=generator)
    healthy = monitors(torch.randn(256, 2, 4, 8, generator=generator), joints)
    assert healthy["feature_std"] == pytest.approx(1, abs=0.05)
    assert healthy["effective_rank"] > 50
    assert abs(healthy["pose_correlation"]) < 0.05
    one_line = monitors(torch.randn(256, 1, 1, 1, generator=generator).expand(256, 2, 4, 8), joints)
    assert one_line["effective_rank"] == pytest.approx(1, abs=1e-2)
    same = monitors(torch.ones(256, 2, 4, 8), joints)
    assert same["feature_std"] == pytest.approx(0, abs=1e-6) and same["pose_correlation"] == 0


def test_pose_correlation_is_pearsons_over_all_pairs(hands):
    generator = torch.Generator().manual_seed(0)
    joints = hands.joints(hands.template[None]) + 0.01 * torch.randn(9, 2, 21, 3, generator=generator)
    graph_k = torch.randn(9, 2, 4, 8, generator=generator)
    pairs = [(a, b) for a in range(9) for b in range(a)]
    S_p, S_g = ([float(x[a] @ x[b]) for a, b in pairs] for x in (embed(graph_k), embed_pose(joints)))
    found = monitors(graph_k, joints)["pose_correlation"]
    assert found == pytest.approx(np.corrcoef(S_p, S_g)[0, 1], rel=1e-4)
    aligned = joints - joints[:, :, 9:10]
    aligned = aligned / (joints[:, :, 9:10] - joints[:, :, :1]).norm(dim=-1, keepdim=True)
    assert monitors(aligned, joints)["pose_correlation"] == pytest.approx(1, abs=1e-4)
    assert monitors(graph_k[:1], joints[:1])["pose_correlation"] == 0


def test_monitors_compare_a_graph_with_its_copy_and_with_others(hands):
    generator = torch.Generator().manual_seed(0)
    joints = hands.joints(hands.template[None]).expand(7, -1, -1, -1)
    G = torch.randn(7, 2, 4, 8, generator=generator)
    G_hat = G + 0.5 * torch.randn(G.shape, generator=generator)
    found = monitors(G, joints, G, G_hat)
    direction = lambda v: v.reshape(7, -1) / np.linalg.norm(v.reshape(7, -1), axis=1)[:, None]
    x, y = direction(G.numpy()), direction(G_hat.numpy())
    assert found["cos_disturbed"] == pytest.approx((x * y).sum(1).mean(), rel=1e-4)
    others = sorted((x @ x.T)[np.triu_indices(7, 1)])
    assert found["cos_images"] == pytest.approx(others[len(others) // 2], rel=1e-4)
