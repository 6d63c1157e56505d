import msgspec
import numpy as np
import pytest
import torch

from handdgcl.config import Loss
from handdgcl.data.batch import HandBatch
from handdgcl.hands.topology import BONES
from handdgcl.model.losses import bone_lengths, reconstruction_terms, target_of, weights
from handdgcl.model.network import Output

WEIGHTS = Loss(
    joints_3d=10,
    vertices_3d=10,
    joints_2d=1e-3,
    length=1e-3,
    consistent=1,
    transition=1,
    contrast=1e-2,
    cross=1,
)


@pytest.fixture(scope="module")
def batch(hands):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    vertices = hands(0.3 * draw(4, 2, 48), draw(4, 2, 10), 0.1 * draw(4, 2, 3) + torch.tensor([0, 0, 0.8]))
    joints_2d = 50 + 20 * draw(4, 2, 21, 2)
    return HandBatch(torch.rand(4, 3, 8, 8), vertices, hands.joints(vertices), joints_2d, torch.arange(4))


def random_output(seed=1):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator).requires_grad_()
    return Output(draw(4, 2, 778, 3), draw(4, 2), draw(4, 2, 3), draw(4, 3))


def test_terms_by_the_formula_in_numpy(batch, hands):
    output = random_output()
    joints = hands.joints(output.vertices)
    terms = {k: v.item() for k, v in reconstruction_terms(output, joints, target_of(batch)).items()}
    V, J, J2 = batch.vertices.numpy(), batch.joints.numpy(), batch.joints_2d.numpy()
    v, j, scale, camera, relative = (
        x.detach().numpy()
        for x in (output.vertices, joints, output.scale, output.camera, output.relative_root)
    )
    metacarpal = np.linalg.norm(J[:, :, 9] - J[:, :, 0], axis=-1)
    unit = metacarpal[:, :, None, None]
    root = J[:, :, 9:10]
    assert terms["joints_3d"] == pytest.approx(np.abs(j - (J - root) / unit).mean(), rel=1e-4)
    assert terms["vertices_3d"] == pytest.approx(np.abs(v - (V - root) / unit).mean(), rel=1e-4)
    projected = camera[:, :, None, :1] * j[..., :2] + camera[:, :, None, 1:]
    assert terms["joints_2d"] == pytest.approx(np.abs(projected - J2).mean(), rel=1e-4)
    parent, child = np.array(BONES).T
    bones = np.linalg.norm(j[:, :, child] - j[:, :, parent], axis=-1) * scale[..., None]
    true_bones = np.linalg.norm(J[:, :, child] - J[:, :, parent], axis=-1)
    assert terms["length"] == pytest.approx(1000 * np.abs(bones - true_bones).mean(), rel=1e-4)
    true_relative = (root[:, 0, 0] - root[:, 1, 0]) / metacarpal.mean(1, keepdims=True)
    V_unit = (V - root) / unit
    difference = v[:, 0] + relative[:, None] - v[:, 1]
    expected = V_unit[:, 0] + true_relative[:, None] - V_unit[:, 1]
    assert terms["transition"] == pytest.approx(np.abs(difference - expected).mean(), rel=1e-4)


def test_each_term_gives_its_gradient_and_no_other(batch, hands):
    reaches = {
        "joints_3d": {"vertices"},
        "vertices_3d": {"vertices"},
        "joints_2d": {"vertices", "camera"},
        "length": {"vertices", "scale"},
        "transition": {"vertices", "relative_root"},
    }
    for name, expected in reaches.items():
        output = random_output()
        terms = reconstruction_terms(output, hands.joints(output.vertices), target_of(batch))
        assert set(terms) == set(reaches)
        terms[name].backward()
        parts = ("vertices", "scale", "camera", "relative_root")
        found = {
            p
            for p in parts
            if getattr(output, p).grad is not None and getattr(output, p).grad.abs().sum() > 0
        }
        assert found == expected


def test_bones_of_no_length_have_finite_gradients():
    zero = torch.zeros(1, 2, 21, 3, requires_grad=True)
    bone_lengths(zero).sum().backward()
    assert zero.grad.isfinite().all()


def test_weights_lower_both_contrasts_and_minus_one_is_equation_11_as_printed():
    found = weights(WEIGHTS)
    assert found["self"] < 0 < found["cross"] and found["joints_3d"] == 10
    terms = {"self": -3.0, "cross": 0.5}
    of = lambda cross: weights(msgspec.structs.replace(WEIGHTS, cross=cross))
    weighed = lambda cross: sum(of(cross)[name] * value for name, value in terms.items())
    assert weighed(-1.0) == pytest.approx(-WEIGHTS.contrast * (0.5 - 3.0))  # -λ7 (L_cross + L_self)
    assert weighed(1.0) == pytest.approx(WEIGHTS.contrast * (0.5 + 3.0))
    assert weighed(0.0) == pytest.approx(WEIGHTS.contrast * 3.0)
