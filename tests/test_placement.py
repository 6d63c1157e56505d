"""Pairs of hands: moved rigidly, touching when they must, regions where they should be."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handdgcl.data.generated.placement import MAX_PENETRATION_MM, TOUCH_MM, Placer
from handdgcl.hands.solid import pair_contact
from handdgcl.hands.topology import FINGERTIP_VERTICES, LEFT, RIGHT


@pytest.fixture(scope="module")
def placer(hands):
    return Placer(hands)


def test_pairs_touch_when_they_must_and_vary(placer):
    random = np.random.default_rng(0)
    pairs = [placer.pair(random, np.zeros(10), touching=touching) for touching in [True] * 6 + [False] * 8]
    found = [pair_contact(pair.vertices, placer.faces) for pair in pairs]
    assert all(contact["penetration_mm"] <= MAX_PENETRATION_MM for contact in found)
    assert all(contact["distance_mm"] <= TOUCH_MM for contact in found[:6])
    assert max(contact["distance_mm"] for contact in found) > TOUCH_MM  # others may be apart
    wrists = np.stack([pair.pose[LEFT, :3] for pair in pairs])
    assert wrists.std(0).min() > 0.3


def test_a_moved_pair_is_the_same_pair_elsewhere(placer):
    random = np.random.default_rng(1)
    pair = placer.pair(random, random.normal(size=10), touching=True)
    turn, shift = Rotation.random(rng=random), np.array([10.0, -400.0, 55.0])
    moved = placer.moved(pair, turn, shift)
    expected = turn.apply(pair.vertices.reshape(-1, 3)).reshape(pair.vertices.shape) + shift
    np.testing.assert_allclose(moved.vertices, expected, atol=2e-3)


def test_regions_are_parts_of_the_hand(placer):
    for hand in (LEFT, RIGHT):
        regions = placer.regions[hand]
        assert set(FINGERTIP_VERTICES.values()) <= set(regions["tip"])
        assert min(map(len, regions.values())) > 20
        for one, other in (("tip", "finger"), ("palm", "back"), ("tip", "palm")):
            assert not set(regions[one]) & set(regions[other])
