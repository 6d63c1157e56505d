"""Depth, distance and first contact, against spheres and signed distances by pseudonormals."""

import igl
import numpy as np
import pytest
import torch
import trimesh

from handdgcl.data.generated.contact import self_penetrating, separation
from handdgcl.hands.solid import Solid, pair_contact, seal, sealed_faces
from handdgcl.hands.topology import LEFT, RIGHT


@pytest.fixture(scope="module")
def apart(hands):
    """Both hands at rest, mirror images 130 mm from each other, mm."""
    vertices = hands.template.double().numpy() * 1e3
    return vertices + np.array([[[0, 0, 0]], [[0, 0, 130.0]]])


def test_spheres():
    small, large = (trimesh.creation.icosphere(subdivisions=4, radius=radius) for radius in (20, 30))
    solid = Solid(large.vertices, large.faces)
    depth, distance = solid.depth_and_distance(small.vertices + np.array([45, 0, 0]), reach=10)
    assert depth == pytest.approx(5, abs=0.1) and distance == 0
    depth, distance = solid.depth_and_distance(small.vertices + np.array([53, 0, 0]), reach=10)
    assert depth == 0 and distance == pytest.approx(3, abs=0.1)
    faces = [large.faces, small.faces]
    direction = np.array([0.6, 0, 0.8])
    offset = separation(large.vertices, small.vertices + np.array([3, 0, 4]), faces, direction)
    assert offset == pytest.approx(45, abs=0.2)
    assert separation(large.vertices, small.vertices + np.array([0, 90, 0]), faces, direction) == -np.inf


def test_pair_contact_against_signed_distances(hands, apart):
    faces = sealed_faces(hands)
    for shift in (0.0, 20.0, 60.0):
        vertices = apart - np.array([[[0, 0, 0]], [[0, 0, shift]]])
        found = pair_contact(vertices, faces)
        sealed = seal(vertices)
        assert all(trimesh.Trimesh(v, f, process=False).is_volume for v, f in zip(sealed, faces, strict=True))
        pseudonormal = igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        signed = -np.concatenate(
            [
                igl.signed_distance(vertices[1 - h], sealed[h], faces[h], pseudonormal)[0]
                for h in (LEFT, RIGHT)
            ]
        )
        assert found["penetration_mm"] == pytest.approx(max(signed.max(), 0), abs=1e-6)
        assert found["distance_mm"] == pytest.approx(max(-signed.max(), 0), abs=1e-6)
    assert found["penetration_mm"] > 3 and found["distance_mm"] == 0


def test_the_nearest_offset_neither_penetrates_nor_leaves_a_gap(hands, apart):
    faces, sealed = sealed_faces(hands), seal(apart)
    direction = np.array([0.0, 0.0, -1.0])
    offset = separation(sealed[RIGHT], sealed[LEFT], faces[::-1], direction)
    moved = apart.copy()
    moved[LEFT] += offset * direction
    found = pair_contact(moved, faces)
    assert found["penetration_mm"] < 0.5 and found["distance_mm"] < 1.5


def test_a_finger_through_the_palm_is_seen(hands):
    faces = sealed_faces(hands)[RIGHT]
    tip = hands.layers[RIGHT].lbs_weights.argmax(1).numpy() == 6
    points = tip.nonzero()[0]
    pose = torch.zeros(1, 2, 48)
    flat = hands(pose, torch.zeros(1, 2, 10), torch.zeros(1, 2, 3))[0, RIGHT].double().numpy() * 1e3
    assert not self_penetrating(Solid(seal(flat), faces), points)
    joints = hands.joints(torch.tensor(flat).expand(1, 2, -1, -1))[0, RIGHT].numpy()
    bent = flat.copy()
    bent[tip] += (joints[0] + joints[9]) / 2 - flat[tip].mean(0)
    assert self_penetrating(Solid(seal(bent), faces), points)
