"""The cascade's parts against NumPy, and that its stages can mend what the start got wrong."""

import itertools

import numpy as np
import pytest
import torch

from handdgcl.families import build_network
from handdgcl.families.cascade import REACH, STAGES, nearby, register, under
from handdgcl.families.maps import STRIDE, heat_loss, heat_maps, peaks
from handdgcl.rows import get_row


def test_registration_is_weighted_least_squares():
    random = np.random.default_rng(0)
    points, target = random.normal(0, 9, (2, 1, 2, 21, 2))
    weight = random.random((1, 2, 21))
    found = register(*map(torch.tensor, (points, target, weight))).numpy()
    for h in range(2):
        p, t = points[0, h], target[0, h]
        # t = s p + (a, b): unknowns s, a, b
        rows = np.zeros((42, 3))
        rows[:21, 0], rows[21:, 0], rows[:21, 1], rows[21:, 2] = p[:, 0], p[:, 1], 1, 1
        root = np.sqrt(np.tile(weight[0, h], 2))
        scale, a, b = np.linalg.lstsq(root[:, None] * rows, root * t.T.reshape(-1), rcond=None)[0]
        assert found[0, h] == pytest.approx(scale * p + [a, b], abs=1e-4)


def test_attention_is_the_union_of_bells_and_pools_under_itself():
    random = np.random.default_rng(1)
    points = random.uniform(0, 6, (1, 2, 4, 2))
    found = nearby(torch.tensor(points), 6)[0].numpy()
    for h in range(2):
        for row in range(6):
            for column in range(6):
                squared = ((points[0, h] - [column + 0.5, row + 0.5]) ** 2).sum(-1)
                assert found[h, row, column] == pytest.approx(np.exp(-squared.min() / REACH))
    image_map = random.normal(size=(1, 5, 6, 6))
    pooled = under(torch.tensor(image_map), torch.tensor(found[None]))[0].numpy()
    for h in range(2):
        expected = (image_map[0] * found[h]).sum((1, 2)) / found[h].sum()
        assert pooled[h] == pytest.approx(expected)


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("height", [1.0, 0.5, 0.3])
def test_peaks_are_where_the_heat_is_however_low(size, height):
    """Whatever the map's size: the background, with some noise on it, does not count."""
    random = torch.Generator().manual_seed(0)
    joints = (0.2 + 0.6 * torch.rand(1, 2, 21, 2, generator=random)) * STRIDE * size  # px of the crop
    heat = height * heat_maps(joints, size)
    place, hot = peaks(heat + 0.01 * torch.randn(heat.shape, generator=random))
    assert (STRIDE * place - joints).abs().max() <= STRIDE / 2 and (hot - height).abs().max() < 0.3 * height
    nothing = peaks(torch.zeros(1, 42, size, size))[0]
    assert torch.allclose(nothing, torch.full_like(nothing, size / 2))  # no heat: the middle


def test_the_heat_loss_is_summed_over_a_map():
    random = np.random.default_rng(3)
    heat, joints = random.normal(size=(2, 42, 8, 8)), 32 * random.random((2, 2, 21, 2))
    wanted = heat_maps(torch.tensor(joints), 8).numpy()
    expected = np.mean([((heat[b, k] - wanted[b, k]) ** 2).sum() for b in range(2) for k in range(42)])
    assert heat_loss(torch.tensor(heat), torch.tensor(joints)).item() == pytest.approx(expected)


def test_each_stage_changes_the_hands_and_only_the_last_is_put_out(tiny_config, hands):
    torch.manual_seed(0)
    network = build_network(get_row("cascade"), tiny_config, hands).eval()
    for layers in (network.start, *network.stages):
        torch.nn.init.normal_(layers[-1].weight, std=0.05)
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        *_, guesses = network._read(image)
        output = network(image)
    count = min(STAGES, len(tiny_config.encoder.widths))  # a stage has a map of its own
    assert len(guesses) == 1 + count
    for before, after in itertools.pairwise(guesses):
        assert (before.output.vertices - after.output.vertices).abs().max() > 1e-3
    assert torch.equal(output.vertices, guesses[-1].output.vertices)
    length = (guesses[-1].joints[:, :, 9] - guesses[-1].joints[:, :, 0]).norm(dim=-1)
    assert torch.allclose(length, torch.ones(2, 2), atol=1e-4)
