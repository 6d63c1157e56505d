"""Joints with a judge: visibility by depths, who learns from which loss, joints alone to the end."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from handdgcl.cli import main
from handdgcl.data.batch import HandBatch
from handdgcl.evaluate import load_model
from handdgcl.evaluate.run import evaluate_row
from handdgcl.families import build_network
from handdgcl.families.maps import DRAWN
from handdgcl.families.pair_judge import resting, visible_joints
from handdgcl.hands.camera import bone_scale, project
from handdgcl.hands.topology import JOINTS, LEFT, RIGHT
from handdgcl.model.losses import target_of
from handdgcl.rows import get_row

K = torch.tensor([[120.0, 0, 32], [0, 120, 32], [0, 0, 1]])


def seen(hands, vertices):
    """A batch of copies of one pair `[H, V, 3]` before a camera."""
    vertices = vertices[None].repeat(DRAWN, 1, 1, 1)
    joints = hands.joints(vertices)
    image = torch.zeros(DRAWN, 3, 64, 64, dtype=torch.uint8)
    points, joints_2d = project(vertices, K), project(joints, K)
    return HandBatch(image, vertices, joints, joints_2d, torch.arange(DRAWN), points)


def test_joints_behind_the_other_hand_are_hidden(hands):
    pair = hands.template.detach()[[RIGHT, RIGHT]][..., [2, 0, 1]]  # palm or back to the camera
    pair = pair - pair.mean(1, keepdim=True) + torch.tensor([0.0, 0, 0.4])
    pair[LEFT, :, 2] += 0.1  # one behind the other: seen in the same direction where it is as large
    pair[LEFT, :, :2] *= 1.25
    visible = visible_joints(seen(hands, pair), hands, 16)[0]
    assert visible[RIGHT].mean() > 0.8 and visible[LEFT].mean() < 0.3
    pair[LEFT, :, 0] += 0.3  # beside it
    assert visible_joints(seen(hands, pair), hands, 16)[0, LEFT].mean() > 0.7


def test_hands_rest_with_their_fingers_up(hands):
    rest = resting(hands)
    tips = [k for k, name in enumerate(JOINTS) if name.endswith("4") and not name.startswith("thumb")]
    assert (rest[:, tips, 1] < rest[:, [0], 1]).all()  # y points down
    thumbs = rest[:, JOINTS.index("thumb4"), 0]
    assert thumbs[LEFT] * thumbs[RIGHT] < 0
    assert torch.allclose(bone_scale(rest), torch.ones(2, 1, 1), atol=1e-5)
    assert torch.allclose(torch.cdist(rest, rest)[LEFT], torch.cdist(rest, rest)[RIGHT], atol=1e-3)


def test_the_judge_and_the_network_learn_from_their_own_loss(tiny_config, hands):
    torch.manual_seed(0)
    network = build_network(get_row("pair_judge"), tiny_config, hands)
    pair = hands.template.detach() + torch.tensor([0.0, 0, 0.5])
    batch = seen(hands, pair)
    batch.image = torch.randint(0, 255, (DRAWN, 3, 32, 32), dtype=torch.uint8)
    learned = network.learn(batch, target_of(batch), hands)
    joints = learned.output.joints
    assert torch.allclose((joints[:, :, 9] - joints[:, :, 0]).norm(dim=-1), torch.ones(DRAWN, 2), atol=1e-4)
    of_judge = list(network.judge.parameters())
    others = [p for name, p in network.named_parameters() if not name.startswith("judge")]
    gradients = lambda term, of: torch.autograd.grad(term, of, retain_graph=True, allow_unused=True)
    assert all(g is None for g in gradients(learned.terms["judge"], others))
    assert all(g is not None for g in gradients(learned.terms["judge"], of_judge))
    assert all(g is None for g in gradients(learned.terms["judged"], of_judge))
    assert any(g is not None for g in gradients(learned.terms["judged"], others))


def test_joints_alone_go_through_everything(train, project, tmp_path, capsys):
    checkpoint = train("pair_judge")
    output = load_model(checkpoint).network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert output.vertices.shape == (1, 2, 0, 3) and output.joints.shape == (1, 2, 21, 3)
    metrics = evaluate_row(project, "pair_judge", 3)
    assert metrics["mpjpe_mm"] > 0 and "mpvpe_mm" not in metrics and "penetration_depth_mm" not in metrics
    record = json.loads((project.results("pair_judge", 3) / "metrics.json").read_text())
    assert record["not_measured"] == {}
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(tmp_path / "a.png")
    command = [
        "predict",
        str(tmp_path / "a.png"),
        "--checkpoint",
        str(checkpoint),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(command) != 0
    assert "joints alone" in capsys.readouterr().err


@pytest.mark.parametrize("row", ["pair", "pair_judge"])
def test_the_judge_is_a_part(tiny_config, hands, row):
    assert (build_network(get_row(row), tiny_config, hands).judge is None) == (row == "pair")
