"""The image encoder: a ResNet, its last feature map averaged."""

import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from handdgcl.config import Encoder
from handdgcl.files import InputError

RANDOM = "random"
# Our names of the sizes, and those of `transformers`.
SIZES = {"layer": "layer_type", "stem": "embedding_size", "widths": "hidden_sizes", "depths": "depths"}

MOST = 255  # of a channel
# Mean and standard deviation of ImageNet's images (RGB in [0, 1]), which pretrained weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageEncoder(nn.Module):
    """ResNet (He et al., CVPR 2016) with global average pooling.

    Args:
        settings: its sizes, and the weights it starts from.
        pretrained: load the weights that the settings name; False where others follow.

    Attributes:
        features: length C of the pooled feature.
    """

    def __init__(self, settings: Encoder, *, pretrained: bool = True):
        super().__init__()
        config = ResNetConfig(
            embedding_size=settings.stem,
            hidden_sizes=list(settings.widths),
            depths=list(settings.depths),
            layer_type=settings.layer,
        )
        if pretrained and settings.weights != RANDOM:
            self.resnet = _pretrained(settings.weights, config)
        else:
            self.resnet = ResNetModel(config)
        self.resnet.to(memory_format=torch.channels_last)
        self.features = self.resnet.config.hidden_sizes[-1]
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, 3, S, S]` RGB, 0 to 255 → pooled feature `[B, C]`."""
        return self.resnet(self.normalise(image)).pooler_output.flatten(1)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Image as above → maps `[B, C_k, S_k, S_k]` of all stages, strides 4, 8, ...; the last is pooled."""
        return list(self.resnet(self.normalise(image), output_hidden_states=True).hidden_states[1:])

    def normalise(self, image: Tensor) -> Tensor:
        """(image / 255 - mean) / std, float32, channels last in memory.

        In rows of pixels: PyTorch is ten times slower at an innermost axis of three.
        """
        pixels = image.permute(0, 2, 3, 1)
        rows = pixels.flatten(2).to(self.std.dtype)  # [B, S, S 3]
        scale, shift = (
            value.repeat(image.shape[-1]) for value in (1 / (MOST * self.std), -self.mean / self.std)
        )
        return torch.addcmul(shift, rows, scale).view(pixels.shape).permute(0, 3, 1, 2)


def _pretrained(weights: str, config: ResNetConfig) -> ResNetModel:
    """The named weights, if they are of the configured sizes.

    Raises:
        InputError: they cannot be had, or are of another ResNet.
    """
    try:
        model = ResNetModel.from_pretrained(weights)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"encoder.weights = {weights!r}: no pretrained ResNet could be loaded ({reason}). "
            f"Name a hub model while online or a local folder, or set encoder.weights to {RANDOM!r}"
        ) from error
    for ours, theirs in SIZES.items():
        asked, found = getattr(config, theirs), getattr(model.config, theirs)
        if asked != found:
            raise InputError(
                f"encoder.{ours} = {asked}, but {weights!r} has {found}: set encoder.{ours} to {found}"
            )
    return model.train()  # it comes for inference, its batch normalisation frozen
