"""The second branch: what is compared with what."""

import copy

import msgspec
import numpy as np
import pytest
import torch

from handdgcl.files import InputError
from handdgcl.hands.camera import root_aligned
from handdgcl.model.contrast import embed
from handdgcl.model.dgclnet import DGCLNet
from handdgcl.model.disturb import RandomMask
from handdgcl.model.graph import chebyshev_basis
from handdgcl.model.network import HandDGCL
from handdgcl.rows import get_row
from handdgcl.train.module import build_dgclnet

B = 6


@pytest.fixture(scope="module")
def network(tiny_config, hands):
    torch.manual_seed(0)
    return HandDGCL(tiny_config.encoder, tiny_config.graph, hands)


@pytest.fixture
def side(network):
    return network.graph_side


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def make(row, config, side, **changes):
    torch.manual_seed(1)
    contrast = msgspec.structs.replace(config.contrast, **changes)
    return build_dgclnet(get_row(row), msgspec.structs.replace(config, contrast=contrast), side)


@pytest.fixture
def batch(network, side, hands):
    """Image feature, G, joints and numbers of some images."""
    feature = torch.randn(B, network.encoder.features, generator=generator(2))
    joints = hands.joints(hands.template[None]) + 0.01 * torch.randn(B, 2, 21, 3, generator=generator(3))
    return feature, side.graph(feature), root_aligned(joints, joints), torch.arange(B)


def step(net, side, batch):
    feature, G, J, index = batch
    return net(side, feature, G, J, index, generator())


@pytest.mark.parametrize("row", ["edge", "flip"])
def test_the_second_branch_runs_on_the_changed_graph(row, tiny_config, side, batch):
    net, G = make(row, tiny_config, side), batch[1]
    both = net.branches(side, G, generator())
    assert torch.equal(both.G_hat, G) and not torch.equal(both.adjacency, side.adjacency)
    torch.testing.assert_close(both.G_k, side.gcn(G))
    changed = chebyshev_basis(both.adjacency, len(side.basis))
    torch.testing.assert_close(both.G_hat_k, side.gcn(G, changed))
    assert not torch.allclose(both.G_hat_k, both.G_k, atol=1e-4)


@pytest.mark.parametrize("poses", ["true", "estimated"])
def test_terms_are_those_of_the_equations_in_numpy(poses, tiny_config, side, batch):
    net = make("similarity", tiny_config, side, poses=poses)
    net.after_step(step(net, side, batch), side)
    net.queue.index[: B - 1] += 100  # other images: negatives; the last one is the same image again
    terms = step(net, side, batch).terms
    both = net.branches(side, batch[1], generator())
    joints = np.stack(
        [
            (both.G_hat[:, h].flatten(1) @ net.pose.weight[h] + net.pose.bias[h]).detach().numpy()
            for h in range(2)
        ],
        1,
    ).reshape(B, 2, 21, 3)
    assert terms["consistent"].item() == pytest.approx(np.abs(joints - batch[2].numpy()).mean(), rel=1e-4)

    def direction(x):
        x = np.asarray(x).reshape(B, -1)
        x = x - x.mean(0)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    query, own = (direction(x.detach()) for x in (both.G_k, both.G_hat_k))
    pose = direction(batch[2] if poses == "true" else joints)
    filled = slice(0, B)
    pool = np.concatenate([own, net.queue.features[filled].float().numpy()])
    pool_pose = np.concatenate([pose, net.queue.poses[filled].numpy()])
    index = np.concatenate([np.arange(B), net.queue.index[filled].numpy()])
    S, tau, logs = query @ pool.T, tiny_config.contrast.tau, []
    for k in range(B):
        negatives = [np.exp(S[k, n] / tau) for n in range(len(pool)) if index[n] != k]
        logs.append(S[k, k] / tau - np.log(np.exp(S[k, k] / tau) + sum(negatives)))
    assert terms["self"].item() == pytest.approx(np.mean(logs), rel=1e-3)
    gap = (1 + S) / 2 - (1 + pose @ pool_pose.T) / 2
    expected = np.sqrt(32 * 2048 * np.mean(gap**2))
    assert terms["cross"].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_with_contents_shuffled_nothing_tells_positives_from_negatives(momentum, tiny_config, side, batch):
    """The positive of another image must look like a key of the queue: by kind, length and age.

    Weights move between the batches, as in training.
    """
    torch.manual_seed(5)
    side = copy.deepcopy(side)
    net = make("dgclnet", tiny_config, side, momentum=momentum, queue=64)
    features = torch.randn(12, 16, batch[0].shape[1], generator=generator(6))
    ranks = []
    for k, feature in enumerate(features):
        given = feature, side.graph(feature), batch[2][:1].expand(16, -1, -1, -1), torch.arange(16) + 16 * k
        both = net.branches(side, given[1], generator(k))
        if k >= 4:  # the queue is full
            query, positive = embed(both.G_k), embed(both.G_hat_k).roll(1, 0)
            keys = net.queue.products(query)
            ranks += ((query * positive).sum(1, keepdim=True) > keys).float().mean(1).tolist()
        net.after_step(net(side, *given, generator(k)), side)
        with torch.no_grad():
            for p in (*side.parameters(), *net.disturbance.parameters()):
                p.add_(0.02 * p.std(correction=0) * torch.randn(p.shape, generator=generator(k)))
    error = np.std(ranks) / np.sqrt(len(ranks))
    assert abs(np.mean(ranks) - 0.5) < max(4 * error, 0.1)


@pytest.mark.parametrize("positive", ["both", "stop", "predictor"])
def test_the_positive_gets_the_gradient_it_is_to_and_a_key_none(positive, tiny_config, side, batch):
    net = make("dgclnet", tiny_config, side, positive=positive, momentum=0.9)
    assert not any(p.requires_grad for p in net.keys.parameters())
    step(net, side, batch).terms["self"].backward()
    reached = [p.grad is not None and bool(p.grad.any()) for p in net.disturbance.parameters()]
    assert all(reached) if positive == "both" else not any(reached)
    assert (net.predictor is not None) == (positive == "predictor")
    assert net.predictor is None or all(p.grad.abs().sum() > 0 for p in net.predictor.parameters())
    side.zero_grad()


def test_momentum_keys_follow_slowly_and_are_the_networks_own_without_lag(tiny_config, side, batch):
    net = make("mask", tiny_config, side, momentum=0.9)
    before = [p.clone() for p in net.keys.side.parameters()]
    with torch.no_grad():
        for p in side.parameters():
            p.add_(1)
    net.keys.update(side, net.disturbance)
    for ours, old in zip(net.keys.side.parameters(), before, strict=True):
        torch.testing.assert_close(ours - old, torch.full_like(old, 0.1))
    with torch.no_grad():
        for p in side.parameters():
            p.sub_(1)
    fresh = make("dgclnet", tiny_config, side, momentum=0.9)
    keys = fresh.keys(batch[0], generator())
    torch.testing.assert_close(keys, step(make("dgclnet", tiny_config, side), side, batch).new[0])


def test_generated_graph_is_nearer_to_its_own_than_other_images_are(tiny_config, side, batch):
    both = make("dgclnet", tiny_config, side).branches(side, batch[1], generator())
    assert (
        both.G_hat.mean(-1).abs().max() < 1e-5 and both.G_hat.var(-1, correction=0).sub(1).abs().max() < 1e-2
    )
    G_hat, G = both.G_hat.flatten(1), both.G.flatten(1)
    own, other = (torch.nn.functional.cosine_similarity(G_hat, its) for its in (G, G.roll(1, 0)))
    assert own.min() > 0.5 and own.max() < 0.99 and (own > other).all()


def test_rows_without_contrast_read_the_pose_alone(tiny_config, side, batch):
    plain = step(make("baseline_consistent", tiny_config, side), side, batch)
    assert set(plain.terms) == {"consistent"} and plain.new is None
    torch.testing.assert_close(plain.G_k, side.gcn(batch[1]))
    generated = step(make("dgclnet_consistent", tiny_config, side), side, batch)
    assert set(generated.terms) == {"consistent"}
    assert generated.terms["consistent"] != plain.terms["consistent"]


class Reshaping(RandomMask):
    def forward(self, G, adjacency, generator):
        return G[..., :-1], adjacency


class Failing(RandomMask):
    def forward(self, G, adjacency, generator):
        raise KeyError("typo")


@pytest.mark.parametrize("wrong", [Reshaping, Failing])
def test_a_disturbance_that_does_not_work_is_refused_before_training(wrong, tiny_config, side):
    with pytest.raises(InputError, match=wrong.__name__):
        DGCLNet(wrong(), ("self",), side, tiny_config.contrast)
