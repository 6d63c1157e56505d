import numpy as np
import pytest
import torch

from handdgcl.model.contrast import (
    MomentumKeys,
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


def filled_queue(images, length=8):
    queue = Queue(length, 6, 9)
    queue.add(unit(len(images), 6, 1), unit(len(images), 9, 2), torch.tensor(images))
    return queue


def test_self_contrast_is_equation_13_over_the_other_images():
    query, positive, index = unit(3, 6, 3), unit(3, 6, 4), torch.tensor([10, 11, 12])
    queue = filled_queue([10, 20, 21, 12, 12])  # places 5, 6, 7 are empty
    own, others = (query * positive).sum(1), query @ queue.features.T
    value = self_contrast(own, others, queue.excluded(index), tau=0.1)
    expected = []
    for q, p, image in zip(query.numpy(), positive.numpy(), index.tolist(), strict=True):
        keys = zip(queue.features.numpy(), queue.index.tolist(), strict=True)
        negatives = [np.exp(q @ key / 0.1) for key, i in keys if i not in (-1, image)]
        expected.append(np.log(np.exp(q @ p / 0.1) / (np.exp(q @ p / 0.1) + sum(negatives))))
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-5)
    assert value < 0


def test_self_contrast_is_zero_without_negatives_and_grows_with_the_similarity():
    own, others = torch.tensor([0.5, -0.2]), torch.zeros(2, 4)
    everything = torch.ones(2, 4, dtype=torch.bool)
    assert self_contrast(own, others, everything, tau=0.1) == 0
    near = self_contrast(own + 0.3, others, ~everything, tau=0.1)
    assert near > self_contrast(own, others, ~everything, tau=0.1)


def test_cross_contrast_is_equation_12_over_what_the_queue_holds():
    query, pose, queue = unit(3, 6, 5), unit(3, 9, 6), filled_queue([0, 1, 2, 3, 4])
    S_p = (1 + query.numpy() @ queue.features[:5].numpy().T) / 2
    S_g = (1 + pose.numpy() @ queue.poses[:5].numpy().T) / 2
    value = cross_contrast(query @ queue.features.T, pose @ queue.poses.T, queue.held())
    assert value.item() == pytest.approx(np.sqrt(np.mean((S_p - S_g) ** 2)), rel=1e-5)
    assert cross_contrast(torch.ones(3, 8), torch.zeros(3, 8), torch.zeros(8, dtype=torch.bool)) == 0


def test_cross_contrast_moves_the_features():
    query, pose, queue = unit(3, 6, 5).requires_grad_(), unit(3, 9, 6), filled_queue([0, 1, 2, 3, 4])
    cross_contrast(query @ queue.features.T, pose @ queue.poses.T, queue.held()).backward()
    assert (query.grad.norm(dim=1) > 0).all()


def test_the_same_pose_has_similarity_one_wherever_and_however_large_it_is(hands):
    joints = hands.joints(hands.template[None])
    other = joints + 0.02 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    pose = embed_pose(torch.cat([joints, 3 * joints + torch.tensor([0.1, 0.2, 0.5]), other]))
    S_g = similarity(pose @ pose.T)
    assert S_g[0, 1].item() == pytest.approx(1, abs=1e-5)
    assert S_g[0, 2] < 0.5
    assert similarity(torch.tensor([-1.0, 1.0])).tolist() == [0, 1]


def test_what_all_images_share_takes_no_part_in_the_contrast():
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(16, 2, 3, 4, generator=generator)
    shared = 100 * torch.randn(1, 2, 3, 4, generator=generator)
    assert torch.allclose(embed(own + shared), embed(own), atol=1e-4)
    query, positive = embed(own + shared), embed(own + 0.1 * torch.randn(own.shape, generator=generator))
    others = (query @ query.T).fill_diagonal_(-1)
    excluded = torch.eye(16, dtype=torch.bool)
    value = self_contrast((query * positive).sum(1), others, excluded, tau=0.07)
    assert value > -0.1  # chance is -log 16 = -2.8


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
    S_p, S_g = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    held = torch.ones(8, dtype=torch.bool)
    expected = (S_p - S_g).square().mean().sqrt().item()
    assert cross_contrast(S_p, S_g, held, "dot").item() == pytest.approx(expected, rel=1e-5)
    assert cross_contrast(S_p, S_g, held, "cosine").item() == pytest.approx(expected / 2, rel=1e-5)


def test_a_batch_of_one_has_nothing_to_contrast_and_a_finite_gradient():
    graph_k = torch.ones(1, 2, 3, 4, requires_grad=True)
    embed(graph_k).sum().backward()
    assert (embed(graph_k) == 0).all() and (graph_k.grad == 0).all()


def test_gradients_reach_both_branches():
    query, positive = unit(2, 6, 1).requires_grad_(), unit(2, 6, 2).requires_grad_()
    queue = filled_queue([5, 6, 7, 8])
    others = query @ queue.features.T
    self_contrast((query * positive).sum(1), others, queue.excluded(torch.tensor([0, 1])), tau=0.1).backward()
    assert query.grad.abs().sum() > 0 and positive.grad.abs().sum() > 0


def test_queue_is_a_ring_that_keeps_the_newest():
    queue = Queue(5, 1, 1)
    for start in (0, 3, 6):
        entries = torch.arange(start, start + 3)
        queue.add(entries[:, None].float(), entries[:, None].float(), entries)
    assert sorted(queue.index.tolist()) == [4, 5, 6, 7, 8]
    assert (queue.features[:, 0] == queue.index).all() and (queue.poses[:, 0] == queue.index).all()
    queue.add(torch.arange(7.0)[:, None], torch.arange(7.0)[:, None], torch.arange(7))
    assert sorted(queue.index.tolist()) == [2, 3, 4, 5, 6]


def test_momentum_keys_follow_slowly_and_get_no_gradient():
    source = torch.nn.Linear(3, 2)
    keys = MomentumKeys(source, 0.9)
    before = keys.module.weight.clone()
    with torch.no_grad():
        source.weight.add_(1)
    keys.update(source)
    assert torch.allclose(keys.module.weight, before + 0.1, atol=1e-6)
    assert not any(p.requires_grad for p in keys.parameters())


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
