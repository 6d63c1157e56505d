"""Close-ups of two hands: what is marked is what lies inside."""

import numpy as np
import torch

from handdgcl.hands.camera import project
from handdgcl.hands.contact import pair_contact, sealed_faces
from handdgcl.report import closeups


def looked_at(hands, *, apart):
    """A right hand and its own mirror image, `apart` metres from palm to palm, half a metre away."""
    pair = hands.template.detach().clone()
    pair -= pair.mean(1, keepdim=True)
    pair[0, :, 0] -= apart
    vertices = pair + torch.tensor([0.0, 0, 0.5])
    k = torch.tensor([[120.0, 0, 32], [0, 120, 32], [0, 0, 1]])
    return closeups._closeup(project(vertices, k), vertices, 64, hands), vertices


def red(picture):
    return (np.abs(picture.astype(int) - closeups.INSIDE) < 30).all(-1).sum()


def test_vertices_inside_are_red_and_their_depth_is_evaluations(hands):
    (picture, depth), vertices = looked_at(hands, apart=0.02)
    contact = pair_contact(1000 * vertices.double().numpy(), sealed_faces(hands))
    assert depth == contact["penetration_mm"] > 0 and red(picture) > 50


def test_hands_that_do_not_touch_have_no_red(hands):
    (picture, depth), _ = looked_at(hands, apart=0.3)
    assert depth == 0 and red(picture) == 0
