import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from handdgcl.config import Encoder, Graph
from handdgcl.files import InputError
from handdgcl.hands.camera import bone_scale
from handdgcl.hands.topology import LEFT, RIGHT, ROOT_JOINT
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.network import HandDGCL, Output

ENCODER = Encoder(weights="random", layer="basic", stem=8, widths=[8, 16], depths=[1, 1])
GRAPH = Graph(nodes=[21, 63], eigenvectors=5, features=12, layers=2, features_k=6, order=3, hidden=10)


def pictures(count):
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8)


@pytest.fixture(scope="module")
def network(hands):
    torch.manual_seed(0)
    return HandDGCL(ENCODER, GRAPH, hands).eval()


def test_output_has_the_documented_shapes_and_starts_at_a_typical_view(network):
    output = network(pictures(3))
    assert output.vertices.shape == (3, 2, 778, 3) and output.vertices.dtype == torch.float32
    assert output.graph.shape == (3, 2, 21, 12) and output.graph_k.shape == (3, 2, 21, 6)
    assert output.scale.shape == (3, 2) and output.relative_root.shape == (3, 3)
    assert torch.allclose(output.camera, 64 * torch.tensor([0.15, 0.5, 0.5]))
    assert torch.allclose(output.scale, torch.tensor(0.095))


def test_graph_feature_is_normalised_over_its_features(network):
    graph = network(pictures(2)).graph
    assert graph.mean(-1).abs().max() < 1e-5
    assert (graph.var(-1, correction=0) - 1).abs().max() < 1e-3


def test_samples_do_not_see_each_other_at_inference(network):
    image = pictures(3)
    whole = network(image).vertices
    assert torch.allclose(whole, torch.cat([network(one[None]).vertices for one in image]), atol=1e-5)


def test_vertices_start_as_a_smooth_surface(network, hands):
    """The learned last step starts as the hierarchy's interpolation: neighbours stay neighbours."""
    vertices = network(pictures(1)).vertices[0, RIGHT]
    faces = hands.faces[RIGHT]
    edges = (vertices[faces[:, 0]] - vertices[faces[:, 1]]).norm(dim=-1).mean()
    apart = (vertices[:, None] - vertices[None]).norm(dim=-1).mean()
    assert edges < 0.5 * apart


def test_metric_vertices_have_the_predicted_scale_and_relative_root(hands):
    unit = hands.template[None]
    joints = hands.joints(unit)
    unit = (unit - joints[:, :, ROOT_JOINT, None]) / bone_scale(joints)
    relative = torch.tensor([[1.0, -2.0, 0.5]])
    scale = torch.tensor([[0.08, 0.10]])
    output = Output(unit, scale, torch.zeros(1, 0), relative)
    joints = hands.joints(output.metric_vertices())
    assert torch.allclose(bone_scale(joints)[..., 0, 0], scale, atol=1e-6)
    root = joints[0, :, ROOT_JOINT]
    assert torch.allclose(root[LEFT] - root[RIGHT], relative[0] * 0.09, atol=1e-6)
    assert root[RIGHT].abs().max() < 1e-6


def test_encoder_equals_the_resnet_on_normalised_images():
    encoder = ImageEncoder(ENCODER).eval()
    image = pictures(2)
    mean, std = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = encoder.resnet((image / 255 - mean) / std).last_hidden_state.mean((2, 3))
    assert torch.allclose(encoder(image), expected, atol=1e-5)


def test_pretrained_weights_come_from_a_folder_of_the_same_sizes(tmp_path):
    torch.manual_seed(1)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    source = ResNetModel(ResNetConfig(**sizes))
    source.save_pretrained(tmp_path / "resnet")
    settings = Encoder(weights=str(tmp_path / "resnet"), layer="basic", stem=8, widths=[8, 16], depths=[1, 1])
    loaded = ImageEncoder(settings)
    assert all(module.training for module in loaded.modules())  # batch normalisation learns
    for ours, theirs in zip(loaded.resnet.parameters(), source.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    other = Encoder(weights=str(tmp_path / "resnet"), layer="basic", stem=8, widths=[8, 32], depths=[1, 1])
    with pytest.raises(InputError, match=r"encoder\.widths = \[8, 32\].*\[8, 16\]"):
        ImageEncoder(other)


def test_missing_weights_name_the_setting(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    absent = Encoder(weights="no/such-resnet", layer="basic", stem=8, widths=[8, 16], depths=[1, 1])
    with pytest.raises(InputError, match=r"encoder\.weights = 'no/such-resnet'.*'random'"):
        ImageEncoder(absent)
