"""Families of Table 1: their parts against independent computations, and each row once through everything."""

import io
from contextlib import redirect_stdout
from importlib import resources

import numpy as np
import pytest
import smplx
import torch
from projects import first_batch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from test_pair_judge import seen

from handdgcl.data.batch import augment
from handdgcl.evaluate import load_model
from handdgcl.evaluate.run import evaluate_row
from handdgcl.families import build_network
from handdgcl.families.attention import CrossHand, ImageAttention
from handdgcl.families.maps import DRAWN, SIGMA, STRIDE, heat_maps, visible_hands
from handdgcl.families.parameters import UPRIGHT, floor, posed, rotations
from handdgcl.families.parametric import looked_up
from handdgcl.hands.mano_files import read_model
from handdgcl.hands.raster import silhouettes
from handdgcl.hands.topology import HANDS, LEFT, RIGHT
from handdgcl.model.losses import reconstruction_terms, target_of, weights
from handdgcl.model.network import Output
from handdgcl.rows import FAMILIES, get_row


@pytest.fixture
def batch(tiny_store, tiny_config, hands):
    """An augmented batch of the tiny store, with its vertices in the image."""
    return augment(first_batch(tiny_store, tiny_config, size=8, seed=0), hands, vertices_2d=True)


def test_vertices_follow_the_image_as_joints_do(batch, hands):
    joints = torch.einsum("hjv,bhvc->bhjc", hands.joint_regressor, batch.vertices_2d)
    error = (joints - batch.joints_2d).abs().max()
    assert error < 0.5  # px: a mean of projections is nearly that of the mean


def test_heat_maps_by_their_formula():
    joints = torch.tensor([[[[9.0, 22.0], [0.5, 31.0]], [[16.0, 16.0], [-40.0, 8.0]]]])
    found = heat_maps(joints, 8)
    assert found.shape == (1, 4, 8, 8)
    for k, (x, y) in enumerate(joints.reshape(-1, 2).tolist()):
        for row in range(8):
            for column in range(8):
                squared = (x / STRIDE - column - 0.5) ** 2 + (y / STRIDE - row - 0.5) ** 2
                assert found[0, k, row, column] == pytest.approx(np.exp(-squared / 2 / SIGMA**2), abs=1e-6)


def test_masks_are_the_silhouettes_shared_by_depth(batch, hands):
    size = batch.image.shape[-1] // STRIDE
    masks, dense = visible_hands(batch, hands, size)
    points = batch.vertices_2d[::DRAWN] / STRIDE
    alone = [silhouettes(points[:, h], hands.faces[h], height=size, width=size) for h in range(len(HANDS))]
    assert torch.equal(masks.amax(1).bool(), alone[LEFT] | alone[RIGHT])
    assert (masks.sum(1) <= 1).all() and masks.sum() > 0
    for h in range(len(HANDS)):
        assert not (masks[:, h].bool() & ~alone[h]).any()
    assert dense.abs().max() <= 1 and (dense[masks[:, :, None].expand_as(dense) == 0] == 0).all()


def test_the_nearer_hand_is_the_visible_one(hands):
    """Two equal hands that cover the same pixels, one at half the other's distance and size."""
    pair = hands.template.detach()[[RIGHT, RIGHT]]
    far = torch.tensor([0.0, 0, 1.0])
    vertices = torch.stack([pair[0] + far, 0.5 * (pair[1] + far)])
    masks, _ = visible_hands(seen(hands, vertices), hands, 16)
    assert masks[:, 1].sum() > 5 * max(1, masks[:, 0].sum())


def test_looking_up_is_bilinear():
    random = np.random.default_rng(0)
    mask, places = random.random((2, 6, 6)), random.uniform(0.1, 0.9, (2, 2, 5, 2))
    found = looked_up(torch.tensor(mask), torch.tensor(places))
    for b in range(2):
        x, y = 6 * places[b].reshape(-1, 2).T - 0.5
        assert found[b].reshape(-1).numpy() == pytest.approx(map_coordinates(mask[b], [y, x], order=1))
    assert looked_up(torch.ones(1, 4, 4), torch.tensor([[[[-0.5, 0.5]], [[0.5, 1.6]]]])).sum() == 0


def test_components_are_smplx_own(hands):
    """smplx with `use_pca` on the right hand's own file."""
    path = resources.files("handdgcl.hands") / "open_hand" / "open_hand_right.npz"
    generator = torch.Generator().manual_seed(0)
    numbers, pose, shape = (torch.randn(3, 2, n, generator=generator) for n in (6, 6, 10))
    turn = rotations(numbers, UPRIGHT)
    axis = Rotation.from_matrix(turn[:, RIGHT].numpy()).as_rotvec()
    with redirect_stdout(io.StringIO()):
        data = smplx.utils.Struct(**read_model(path))
        model = smplx.MANO("", data_struct=data, num_pca_comps=6, batch_size=3)
    axis = torch.as_tensor(axis, dtype=torch.float32)
    theirs = model(betas=shape[:, RIGHT], global_orient=axis, hand_pose=pose[:, RIGHT])
    ours = posed(hands, turn, pose, shape)
    # The model turns about its wrist, `posed` about the origin.
    off = lambda made: made - (model.J_regressor[0] @ made)[:, None]
    assert torch.allclose(off(ours[:, RIGHT]), off(theirs.vertices), atol=1e-6)


def test_the_six_numbers_are_a_rotation_from_the_upright_hand(hands):
    assert torch.allclose(rotations(torch.zeros(1, 2, 6), UPRIGHT)[0], UPRIGHT)
    found = rotations(torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(2)), UPRIGHT)
    assert torch.allclose(found @ found.mT, torch.eye(3).expand_as(found), atol=1e-5)
    assert torch.allclose(torch.linalg.det(found), torch.ones(5, 2), atol=1e-5)
    wrist, tip = hands.joints(hands.template[None])[0, :, [0, 12]].unbind(1)
    up = torch.einsum("hij,hj->hi", UPRIGHT, tip - wrist)
    assert (up[:, 1] < -0.9 * up.norm(dim=1)).all()  # y points down


def test_the_floor_falls_with_components(hands):
    """All components say every pose of the model; a few do not."""
    generator = torch.Generator().manual_seed(1)
    pose = 0.2 * torch.randn(2, 2, 48, generator=generator)
    vertices = hands(pose, torch.zeros(2, 2, 10), torch.zeros(2, 2, 3))
    few, all_of_them = (floor(vertices, hands, n).mean() for n in (6, 45))
    assert all_of_them < 0.5 < 2 < few


def test_nodes_attend_to_the_map_and_to_the_other_hand():
    torch.manual_seed(0)
    x, maps = torch.randn(2, 2, 7, 16), [torch.randn(2, 5, 12, 12), torch.randn(2, 5, 4, 4)]
    looking, crossing = ImageAttention(16, 5, 2).eval(), CrossHand(16).eval()
    order = torch.randperm(7)
    assert torch.allclose(looking(x, maps)[:, :, order], looking(x[:, :, order], maps), atol=1e-5)
    for k in range(2):  # each map tells
        changed = [m.flip(0) if j == k else m for j, m in enumerate(maps)]
        assert (looking(x, maps)[0] - looking(x, changed)[0]).abs().max() > 1e-3
    other = x.clone()
    other[:, RIGHT] = torch.randn(2, 7, 16)
    assert (crossing(other)[:, LEFT] - crossing(x)[:, LEFT]).abs().max() > 1e-3
    assert torch.allclose(crossing(x.flip(1)), crossing(x).flip(1), atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_start_from_the_baselines_encoder(tiny_config, hands, name):
    torch.manual_seed(3)
    own = build_network(get_row(name), tiny_config, hands).encoder.state_dict()
    torch.manual_seed(3)
    base = build_network(get_row("baseline"), tiny_config, hands).encoder.state_dict()
    assert all(torch.equal(own[key], value) for key, value in base.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_all_of_a_family_learns(tiny_config, hands, batch, name):
    """A weight without a gradient would be dead, and stop training on several devices."""
    torch.manual_seed(0)
    if get_row(name).twins:
        batch.image = torch.cat([batch.image, batch.image.flip(0), batch.image.flip(1)], 1)
    network, target = build_network(get_row(name), tiny_config, hands), target_of(batch)
    learned = network.learn(batch, target, hands)
    terms = reconstruction_terms(learned.output, learned.output.joints_of(hands), target)
    weight = weights(tiny_config.loss) | network.WEIGHTS
    sum(weight[name] * term for name, term in (terms | learned.terms).items()).backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", ["parametric6", "factorised"])
def test_what_is_true_costs_nothing(tiny_config, hands, batch, name, monkeypatch):
    """Neither the mask of true hands nor collisions that are there, and no mask moves the camera."""
    network, target = build_network(get_row(name), tiny_config, hands), target_of(batch)
    fit = torch.stack([lines_to(batch.vertices_2d[:, h], target.vertices[:, h, :, :2]) for h in (0, 1)], 1)
    camera = fit.requires_grad_()
    true = Output(target.vertices, target.scale, camera, target.relative_root)
    monkeypatch.setattr(network.parameters_of, "forward", lambda *_: true)
    terms = network.learn(batch, target, hands).terms
    if name == "factorised":
        assert terms["collision"] == 0
    else:
        assert terms["mask"] < 0.02 and not terms["mask"].requires_grad


def lines_to(points_2d, points):
    """The weak-perspective camera `[B, 3]` that brings points `[B, V, 2]` nearest to px `[B, V, 2]`."""
    off, wanted = points - points.mean(1, keepdim=True), points_2d - points_2d.mean(1, keepdim=True)
    scale = (off * wanted).sum((1, 2)) / off.square().sum((1, 2))
    return torch.cat([scale[:, None], points_2d.mean(1) - scale[:, None] * points.mean(1)], 1)


class VerticesOf(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image).vertices


@pytest.mark.parametrize("name", ["attention", "parametric6", "cascade", "factorised"])
def test_a_family_goes_through_everything(train, project, name):
    checkpoint = train(name)
    written = checkpoint.stat().st_mtime_ns
    assert train(name) == checkpoint and checkpoint.stat().st_mtime_ns == written  # once is enough
    trained = load_model(checkpoint)
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.inference_mode():
        output = trained.network(image)
    assert output.metric_vertices().shape == (1, 2, 778, 3) and output.vertices.isfinite().all()
    metrics = evaluate_row(project, name, 3)
    assert metrics["mpjpe_mm"] > 0 and not (project.results(name, 3) / "features.csv").exists()
    program = torch.export.export(VerticesOf(trained.network), (image,))
    assert torch.allclose(program.module()(image), output.vertices, atol=1e-5)
