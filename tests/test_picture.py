"""What is drawn: closed surfaces, hands inside the picture, nothing seen from behind."""

import numpy as np
import pytest
import torch
import trimesh

from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import LEFT, RIGHT
from handdgcl.render import picture
from handdgcl.render.hands import arm_axis
from handdgcl.render.pairs import PairSampler
from handdgcl.render.picture import Painter, build_arm
from handdgcl.render.scene import random_appearance, random_cameras, stage


@pytest.fixture(scope="module")
def scenes(hands):
    """Some staged pairs with cameras: (pair, cameras, generator)."""
    sampler, found = PairSampler(hands), []
    for seed in range(4):
        random = np.random.default_rng(seed)
        cameras, pair = random_cameras(random, 3), None
        while pair is None:
            pair = stage(sampler.pair(random, random.normal(size=10), touching=False), cameras, random)
        found.append((pair, cameras, random))
    return found


def test_hand_and_arm_are_one_closed_surface(hands, scenes):
    for pair, _, random in scenes:
        mesh = Painter(hands).mesh(pair, [LEFT], random_appearance(random), random)
        solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        assert solid.is_watertight and solid.volume > 0


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
def test_the_arm_goes_away_from_the_fingers_and_ends_in_cloth(hands, scenes, hand):
    for pair, _, random in scenes:
        vertices = pair.vertices[hand]
        start, axis = arm_axis(vertices, hand=hand)
        joints = hands.joints(torch.tensor(pair.vertices)[None])[0, hand].numpy()
        assert (joints[9] - joints[0]) @ axis < -40
        points, _, cloth = build_arm(vertices, random, hand=hand)
        assert ((points[-20:] - start) @ axis > 300).all() and cloth[-20:].all() and not cloth[:16].any()


def test_no_surface_is_seen_from_behind_and_all_of_both_hands_is_in_the_picture(hands, scenes):
    painter, behind, seen = Painter(hands), 0, 0
    for pair, cameras, random in scenes:
        mesh = painter.mesh(pair, [RIGHT, LEFT], random_appearance(random), random)
        for camera in cameras:
            pixels, points = camera.project(pair.vertices)
            assert (pixels >= 0).all() and (pixels <= [camera.width, camera.height]).all()
            pixels, points = (torch.tensor(a).float()[None] for a in camera.project(mesh.vertices))
            faces = torch.tensor(mesh.faces)
            drawn = rasterize(pixels, points[..., 2], faces, height=camera.height, width=camera.width)
            face = drawn.face[drawn.face >= 0]
            a, b, c = points[0, faces[face]].unbind(1)
            away = (torch.linalg.cross(b - a, c - a) * a).sum(1) > 0
            behind, seen = behind + int(away.sum()), seen + len(face)
    assert seen > 100_000 and behind / seen < 1e-3


def test_the_background_is_untouched_beside_the_hands(hands, scenes, monkeypatch):
    wall = lambda look, camera, *_: np.tile(np.float32([0, 1, 0]), (camera.height, camera.width, 1))
    monkeypatch.setattr(picture, "_wall", wall)
    painter = Painter(hands)
    for pair, cameras, random in scenes:
        look = random_appearance(random)
        mesh = painter.mesh(pair, [RIGHT, LEFT], look, random)
        for camera in cameras:
            drawing = painter.draw(mesh, camera, look, random)
            pixels, points = (torch.tensor(a).float()[None] for a in camera.project(mesh.vertices))
            size = {"height": camera.height, "width": camera.width}
            drawn = rasterize(pixels, points[..., 2], torch.tensor(mesh.faces), **size).face[0].numpy() >= 0
            green = np.abs(drawing.astype(int) - [0, 255, 0]).max(2) < 25
            assert green[~drawn].mean() > 0.999 and green[drawn].mean() < 0.01


@pytest.mark.parametrize(("azimuth", "roll"), [(20, 5), (180, 40)])
def test_cameras_stand_as_far_round_and_are_turned_as_asked(azimuth, roll):
    cameras = random_cameras(np.random.default_rng(0), 2000, azimuth_deg=azimuth, roll_deg=roll)
    position, rotation = (np.stack([getattr(c, name) for c in cameras]) for name in ("position", "rotation"))
    round_by = np.degrees(np.arctan2(position[:, 0], position[:, 2]))
    assert 0.98 * azimuth < round_by.max() <= azimuth and -azimuth <= round_by.min() < -0.98 * azimuth
    towards = -position / np.linalg.norm(position, axis=1, keepdims=True)
    assert ((rotation[:, 2] * towards).sum(1) > 0.99).all()  # at the hands
    up = rotation[:, :2, 1]  # where the world's y points in the image, whose own points down
    assert np.degrees(np.arctan2(up[:, 0], -up[:, 1])).std() == pytest.approx(roll, rel=0.05)
