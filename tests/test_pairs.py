"""Pairs of hands: first contact, moved rigidly, touching when they must."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from handdgcl.hands.contact import pair_contact, seal, sealed_faces
from handdgcl.hands.topology import LEFT, RIGHT
from handdgcl.render.pairs import MAX_PENETRATION_MM, TOUCH_MM, PairSampler, separation


@pytest.fixture(scope="module")
def sampler(hands):
    return PairSampler(hands)


def test_pairs_touch_when_they_must_and_vary(sampler):
    random = np.random.default_rng(0)
    pairs = [sampler.pair(random, np.zeros(10), touching=touching) for touching in [True] * 6 + [False] * 8]
    found = [pair_contact(pair.vertices, sampler.hand_sampler.faces) for pair in pairs]
    assert all(contact["penetration_mm"] <= MAX_PENETRATION_MM for contact in found)
    assert all(contact["distance_mm"] <= TOUCH_MM for contact in found[:6])
    assert max(contact["distance_mm"] for contact in found) > TOUCH_MM  # others may be apart
    wrists = np.stack([pair.pose[LEFT, :3] for pair in pairs])
    assert wrists.std(0).min() > 0.3


def test_a_moved_pair_is_the_same_pair_elsewhere(sampler):
    random = np.random.default_rng(1)
    pair = sampler.pair(random, random.normal(size=10), touching=True)
    turn, shift = Rotation.random(rng=random), np.array([10.0, -400.0, 55.0])
    moved = pair.moved(turn, shift)
    expected = turn.apply(pair.vertices.reshape(-1, 3)).reshape(pair.vertices.shape) + shift
    np.testing.assert_allclose(moved.vertices, expected, atol=2e-3)


def test_first_contact_of_spheres():
    small, large = (trimesh.creation.icosphere(subdivisions=4, radius=radius) for radius in (20, 30))
    faces, direction = [large.faces, small.faces], np.array([0.6, 0, 0.8])
    offset = separation(large.vertices, small.vertices + np.array([3, 0, 4]), faces, direction)
    assert offset == pytest.approx(45, abs=0.2)
    assert separation(large.vertices, small.vertices + np.array([0, 90, 0]), faces, direction) == -np.inf


def test_first_contact_of_hands_neither_penetrates_nor_leaves_a_gap(hands):
    vertices = hands.template.double().numpy() * 1e3 + np.array([[[0, 0, 0]], [[0, 0, 130.0]]])
    faces, sealed = sealed_faces(hands), seal(vertices)
    direction = np.array([0.0, 0.0, -1.0])
    offset = separation(sealed[RIGHT], sealed[LEFT], faces[::-1], direction)
    vertices[LEFT] += offset * direction
    found = pair_contact(vertices, faces)
    assert found["penetration_mm"] < 0.5 and found["distance_mm"] < 1.5
