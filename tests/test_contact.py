"""Depth and distance, against signed distances by pseudonormals."""

import igl
import numpy as np
import pytest
import trimesh

from handdgcl.hands.contact import pair_contact, seal, sealed_faces
from handdgcl.hands.topology import LEFT, RIGHT


def test_pair_contact_against_signed_distances(hands):
    faces, rest = sealed_faces(hands), hands.template.double().numpy() * 1e3
    for gap in (130.0, 110.0, 70.0):
        vertices = rest + np.array([[[0, 0, 0]], [[0, 0, gap]]])
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
