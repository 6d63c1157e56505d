"""Each hand alone: rendered twins, their stores, and the family that learns to make them."""

import copy

import cv2
import numpy as np
import pytest
import torch
from layout import random_jpeg, write_layout
from scipy.ndimage import binary_dilation

from handdgcl.config import Generate, Splits
from handdgcl.data.batch import DrawnBatch, augment
from handdgcl.data.interhand import read_split
from handdgcl.data.loader import open_store
from handdgcl.data.prepare import prepare_split, prepare_twins
from handdgcl.data.store import Store
from handdgcl.data.twins import TwinStore, twin_store
from handdgcl.evaluate.run import evaluate_row
from handdgcl.families import build_network
from handdgcl.families.maps import DRAWN
from handdgcl.families.removal import UNet, true_masks
from handdgcl.files import InputError
from handdgcl.hands.topology import HANDS, LEFT, RIGHT
from handdgcl.model.losses import target_of
from handdgcl.render import twin_folder, write_dataset
from handdgcl.render.pairs import PairSampler
from handdgcl.render.picture import Painter
from handdgcl.render.scene import random_appearance, random_cameras, stage
from handdgcl.rows import get_row
from handdgcl.train.run import train_row

SPLITS = ("train", "val", "test")
SHADE_PX = 8  # hands shade each other so far


@pytest.fixture(scope="module")
def twins(tiny_store, tiny_config, hands, tmp_path_factory):
    """The tiny store beside twins of other images, which drop nothing and stand in another order."""
    folder = tmp_path_factory.mktemp("twins")
    for split in SPLITS:
        (folder / split).symlink_to(tiny_store / split)
    for seed, hand in enumerate(HANDS):
        layout, random = write_layout(folder / hand, frames=5, cameras=2), np.random.default_rng(9 + seed)
        for path in sorted(layout.glob("images/**/*.jpg")):
            path.write_bytes(random_jpeg(random))
        for split in SPLITS:
            prepare_split(layout, split, twin_store(folder / split, hand), tiny_config.data, hands)
    return folder


@pytest.fixture
def batch(twins, hands):
    """A batch with images of each hand alone, as it is and mirrored."""
    raw = open_store(twins / "train", twins=True).batch(range(8))
    mirror = torch.diag(torch.tensor([-1.0, 1])).expand(8, 2, 2)
    drawn = lambda R: DrawnBatch(**vars(raw), rotation=R, scale=torch.ones(8))
    plain, mirrored = (
        augment(drawn(R), hands, vertices_2d=True) for R in (torch.eye(2).expand(8, 2, 2), mirror)
    )
    return plain, mirrored


def test_the_twin_is_the_picture_but_for_the_other_hand(hands):
    """Outside of the removed hand and arm, by the convex hull of their projection, and what they shade."""
    random, pair, painter = np.random.default_rng(1), None, Painter(hands)
    cameras, sampler = random_cameras(random, 2), PairSampler(hands)
    while pair is None:
        pair = stage(sampler.pair(random, random.normal(size=10), touching=True), cameras, random)
    look = random_appearance(random)
    mesh = painter.mesh(pair, [RIGHT, LEFT], look, random)
    for camera, kept in zip(cameras, (LEFT, RIGHT), strict=True):
        drawn = [
            painter.draw(mesh, camera, look, copy.deepcopy(random), alone=alone).astype(int)
            for alone in (None, kept)
        ]
        gone = camera.project(mesh.vertices[np.unique(mesh.faces[mesh.hand != kept])])[0]
        hull = cv2.convexHull(gone.round().astype(np.int32))
        near = cv2.fillConvexPoly(np.zeros((camera.height, camera.width), np.uint8), hull, 1)
        near = binary_dilation(near, np.ones((3, 3)), iterations=SHADE_PX)
        differs = (drawn[0] != drawn[1]).any(-1)
        assert differs.sum() > 300 and not (differs & ~near).any()


def test_a_rendered_set_has_twins_with_the_same_annotations(tmp_path, hands, tiny_config):
    counts = Splits(train=2, val=1, test=1), Splits(train=1, val=1, test=1)
    generate = Generate(images=counts[0], subjects=counts[1], cameras=1, interacting=0.5, seed=2, twins=True)
    write_dataset(tmp_path / "set", generate, hands, workers=0)
    for split in SPLITS:
        prepare_split(tmp_path / "set", split, tmp_path / "store" / split, tiny_config.data, hands)
    prepare_twins(tmp_path / "set", tmp_path / "store", tiny_config.data, hands)
    store = TwinStore(tmp_path / "store" / "train")
    image = store.images([0, 1]).float()
    pair, left, right = image.split(3, 1)
    assert image.shape == (2, 9, 32, 32) and (pair - left).abs().max() > 20 < (pair - right).abs().max()
    whole = read_split(tmp_path / "set", "val")
    for hand in HANDS:
        twin = read_split(twin_folder(tmp_path / "set", hand), "val")
        assert twin.table.equals(whole.table) and twin.images != whole.images


def test_twins_are_joined_by_image(twins, tiny_store):
    store, decoded = (TwinStore(twins / "train", decoded=decoded) for decoded in (False, True))
    pair = Store(tiny_store / "train")
    position = [5, 0, 3]
    image = store.images(position)
    assert torch.equal(image, decoded.images(position)) and store.channels == image.shape[1]
    assert torch.equal(image[:, :3], pair.images(position))
    for h, hand in enumerate(HANDS):
        twin = Store(twin_store(twins / "train", hand))
        row = [twin.table["image_id"].tolist().index(pair.table["image_id"][k]) for k in position]
        assert torch.equal(image[:, 3 + 3 * h : 6 + 3 * h], twin.images(row))


def test_a_missing_twin_is_named_with_the_remedy(tiny_store, project):
    with pytest.raises(InputError, match=r"alone-left.*generate\.twins=true"):
        TwinStore(tiny_store / "train")
    with pytest.raises(InputError, match=r"generate\.twins=true"):
        train_row("removal", 3, project)


def test_twins_of_other_images_are_refused(twins, tmp_path):
    for hand in HANDS:
        twin_store(tmp_path / "val", hand).parent.mkdir()
        twin_store(tmp_path / "val", hand).symlink_to(twin_store(twins / "train", hand))
    (tmp_path / "val").symlink_to(twins / "val")
    with pytest.raises(InputError, match=r"alone-left/val: not of the images of .*val"):
        TwinStore(tmp_path / "val")


def test_a_mirror_image_swaps_the_hands(batch):
    plain, mirrored = (part.image.split(3, 1) for part in batch)
    for k, other in enumerate((0, 2, 1)):
        assert torch.equal(mirrored[k], plain[other].flip(-1))


def test_true_masks_hold_what_shows(batch, hands):
    """Of hands that are moved over each other in the image."""
    points = batch[0].vertices_2d
    points[:, LEFT] += (points[:, RIGHT] - points[:, LEFT]).mean(1, keepdim=True)
    whole, seen = true_masks(batch[0], hands, 32).unbind(1)
    assert len(whole) == len(batch[0].index) // DRAWN and (seen <= whole).all()
    assert torch.equal(seen.amax(1), whole.amax(1)) and (seen.sum(1) <= 1).all()
    assert 1.3 * seen.sum() < whole.sum()


@pytest.mark.parametrize("row", ["single", "single_oracle"])
def test_a_left_hand_is_a_right_one_in_the_mirror(batch, tiny_config, hands, row):
    torch.manual_seed(0)
    network = build_network(get_row(row), tiny_config, hands).eval()
    for parameter in network.maps.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    one, other = (network(part.image) for part in batch)
    joints = other.joints.flip(1) * torch.tensor([-1.0, 1, 1])
    assert torch.allclose(one.joints, joints, atol=1e-4)
    if row != "single_oracle":  # whose eyes alone are for the true images
        assert torch.equal(one.joints, network(batch[0].image[:, :3]).joints)


def test_each_network_learns_from_its_own_loss(batch, tiny_config, hands):
    torch.manual_seed(0)
    network = build_network(get_row("removal"), tiny_config, hands)
    terms = network.learn(batch[0], target_of(batch[0]), hands).terms
    reached = {"heat": {"encoder", "pyramid", "maps"}, "masks": {"masks"}, "paint": {"painter"}}
    reached |= {"judge": {"judge"}, "judged": {"painter"}}
    for name, wanted in reached.items():
        named = dict(network.named_parameters())
        found = torch.autograd.grad(terms[name], list(named.values()), retain_graph=True, allow_unused=True)
        assert {
            key.split(".")[0] for key, value in zip(named, found, strict=True) if value is not None
        } == wanted


def test_what_was_removed_can_be_learned(batch, tiny_config, hands):
    """Some steps on one batch bring the painted images nearer to the true ones, and the masks too.

    Of pictures as smooth as pictures are: noise cannot be painted from half the side.
    """
    torch.manual_seed(0)
    coarse = torch.nn.functional.avg_pool2d(batch[0].image.float(), 8)
    batch[0].image = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    network = build_network(get_row("removal"), tiny_config, hands)
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    kept = []
    for _ in range(30):
        terms = network.learn(batch[0], target_of(batch[0]), hands).terms
        kept.append((terms["paint"].item(), terms["masks"].item()))
        optimizer.zero_grad()
        (terms["paint"] + terms["masks"]).backward()
        optimizer.step()
    assert all(last < 0.8 * first for first, last in zip(kept[0], kept[-1], strict=True))


def test_an_image_may_have_an_odd_side():
    assert UNet(3, 4)(torch.rand(2, 3, 33, 47)).shape == (2, 4, 33, 47)


@pytest.mark.parametrize("row", ["removal", "single_oracle"])
def test_removal_goes_through_everything(twins, project, row):
    project.store.unlink()
    project.store.symlink_to(twins)
    train_row(row, 3, project)
    metrics = evaluate_row(project, row, 3)
    assert metrics["mpjpe_mm"] > 0 and "mpvpe_mm" not in metrics
