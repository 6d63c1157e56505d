"""Factorised refinement: collision against NumPy and evaluation's exact depth, and the rule of acceptance."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from handdgcl.families import build_network
from handdgcl.families.factorised import along_bones, collision, factors, sphere_radii
from handdgcl.hands.camera import bone_scale
from handdgcl.hands.contact import pair_contact, sealed_faces
from handdgcl.hands.topology import BONES, LEFT, RIGHT
from handdgcl.rows import get_row


def test_each_number_has_one_factor():
    each = factors((6, 45, 10, 3))
    assert sorted(itertools.chain(*each)) == list(range(2 * 64 + 3))
    assert [len(place) for place in each] == [3, 6, 6, 90, 20, 6]
    assert max(each[1]) < 64 <= min(each[2])  # left, then right


def pairs(hands, gaps):
    """Rest hands one above the other, so many metres apart."""
    pair = hands.template.detach() - hands.template.detach().mean(1, keepdim=True)
    vertices = torch.stack([pair.clone() for _ in gaps])
    vertices[:, LEFT, :, 1] += torch.tensor(gaps)[:, None]
    return vertices


def test_collision_by_its_formula(hands):
    vertices = pairs(hands, [0.01, 0.02])
    joints, radius = hands.joints(vertices), sphere_radii(hands)
    scale = bone_scale(joints)[..., 0, 0]
    found = collision(along_bones() @ joints, radius, scale)
    for k in range(2):
        total = 0.0
        spheres = []
        for h in range(2):
            J = joints[k, h].numpy()
            places = [J[a] + t * (J[b] - J[a]) for a, b in BONES for t in (1 / 3, 2 / 3, 1)]
            spheres.append(list(zip(places, radius.numpy() * scale[k, h].item(), strict=True)))
        for p, r in spheres[0]:
            for q, s in spheres[1]:
                total += max(0.0, r + s - np.linalg.norm(p - q))
        assert found[k] == pytest.approx(total / scale[k].mean().item(), rel=1e-4)


def test_collision_orders_pairs_as_the_exact_depth_does(hands):
    gaps = np.linspace(0.0, 0.08, 14).tolist()
    vertices = pairs(hands, gaps)
    joints = hands.joints(vertices)
    ours = collision(along_bones() @ joints, sphere_radii(hands), bone_scale(joints)[..., 0, 0])
    exact = [pair_contact(1000 * v.double().numpy(), sealed_faces(hands))["penetration_mm"] for v in vertices]
    deep = np.array(exact) > 2
    assert (ours[deep] > 0).all() and ours[-1] == 0 and 2 < deep.sum() < 12
    assert spearmanr(ours, exact).statistic > 0.8


def test_collision_pushes_the_hands_apart(hands):
    vertices = pairs(hands, [0.02])
    joints = hands.joints(vertices).requires_grad_()
    collision(
        along_bones() @ joints, sphere_radii(hands), bone_scale(joints.detach())[..., 0, 0]
    ).sum().backward()
    push = -joints.grad.sum(2)[0]  # [H,3]
    between = (joints[0, LEFT] - joints[0, RIGHT]).mean(0).detach()
    assert push[LEFT] @ between > 0 > push[RIGHT] @ between


def test_a_step_that_does_harm_is_not_taken(tiny_config, hands):
    torch.manual_seed(0)
    network = build_network(get_row("factorised"), tiny_config, hands).eval()
    image, taken = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8), 0
    for _ in range(4):
        for layers in network.refine:
            torch.nn.init.normal_(layers[-1].weight, std=0.03)
        with torch.inference_mode():
            feature = network.encoder(image)
            said = network.evidence(feature)
            before = network._harm(network._hands(network._regress(feature), 32), said)
            after = network._harm(network(image), said)
        assert (after <= before + 1e-4).all()
        taken += (after < before - 1e-4).any(0).sum()
    assert taken > 0
