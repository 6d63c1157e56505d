"""Training steps beside the bare backbone's, and the default mode beside the plain one."""

import copy
from collections.abc import Iterator

import msgspec
import torch
from lightning import Trainer

from handdgcl.bench.bench import Bench, random_batch, random_directions
from handdgcl.bench.measure import Figure, alternate, cost, finished
from handdgcl.config import Config
from handdgcl.data.batch import RawBatch
from handdgcl.hands import Hands
from handdgcl.model.encoder import ImageEncoder
from handdgcl.rows import get_row
from handdgcl.train.module import TrainingModule

BASELINE, FULL = "baseline", "similarity"
BARS = {"large": {BASELINE: 1.08, FULL: 1.20}, "small": {BASELINE: 1.5, FULL: 2.0}}
MODE_BAR = 0.55
PLAIN = "32-true"
OLD = 10**6  # index of the queue's first keys: images that no batch holds


class TrainingStep:
    """All that training does for one batch on the device; call it for one step.

    Args:
        name: of `handdgcl.rows.ROWS`.
        config: all parameters.
        hands: on the CPU; copied.
        raw: the batch, on the device.
        precision: as `train.precision`; the plain one also leaves the channels-last layout.
    """

    def __init__(self, name: str, config: Config, hands: Hands, raw: RawBatch, *, precision: str):
        device = raw.image.device
        train = msgspec.structs.replace(config.train, schedule="plateau", precision=precision)
        config = msgspec.structs.replace(config, train=train)
        self.raw, self.device = raw, device
        self.module = TrainingModule(get_row(name), config, copy.deepcopy(hands), seed=0).to(device)
        self.trainer = Trainer(
            accelerator=device.type,
            devices=1,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self.module.trainer = self.trainer
        self.optimizer = self.module.configure_optimizers()["optimizer"]
        if self.module.contrastive is not None:
            queue = self.module.contrastive.queue
            index = torch.arange(OLD, OLD + len(queue.index), device=device)
            queue.add(random_directions(queue.features), random_directions(queue.poses), index)

    def plain_layout(self) -> None:
        """Convolve in PyTorch's own memory format from now on."""
        resnet = self.module.network.encoder.resnet.to(memory_format=torch.contiguous_format)
        resnet.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))

    def __call__(self) -> None:
        """One step, ended when this returns."""
        with self.trainer.strategy.precision_plugin.train_step_context():
            loss = self.module.training_step(self.raw, 0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.module.on_train_batch_end(loss, self.raw, 0)
        finished(self.device)


class BackboneStep:
    """The same backbone alone: forward, backward and fused Adam on images that are ready."""

    def __init__(self, config: Config, images: int, device: torch.device):
        self.device, self.half = device, config.train.precision != PLAIN
        self.backbone = ImageEncoder(config.encoder).resnet.to(device)
        size = config.data.image_size
        image = torch.randn(images, 3, size, size, device=device)
        self.image = image.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.backbone.parameters(), lr=config.train.lr, fused=True)

    def __call__(self) -> None:
        """One step, ended when this returns."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            feature = self.backbone(self.image).pooler_output
        loss = feature.float().square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        finished(self.device)


def training_step(bench: Bench, name: str, config: Config, images: int, precision: str | None = None):
    """A row's step on a random batch."""
    raw = random_batch(images, config.data.image_size, bench.hands, bench.device)
    return TrainingStep(name, config, bench.hands, raw, precision=precision or config.train.precision)


def large_steps(bench: Bench) -> Iterator[Figure]:
    """ResNet-50, 256 px."""
    yield from _beside_backbone(bench, bench.large, bench.batch, BARS["large"], bench.turns(7))


def small_steps(bench: Bench) -> Iterator[Figure]:
    """The default profile's own model, where all that is beside the backbone weighs more."""
    config = bench.small
    yield from _beside_backbone(bench, config, config.train.batch_size, BARS["small"], bench.turns(30))


def _beside_backbone(
    bench: Bench, config: Config, images: int, bars: dict[str, float], rounds: int
) -> Iterator[Figure]:
    about = _about(config, images)
    for name, bar in bars.items():
        step, bare = training_step(bench, name, config, images), BackboneStep(config, images, bench.device)
        title = f"{config.profile} profile: training step, {get_row(name).title} ÷ its bare backbone's"
        times = alternate(step, bare, rounds=rounds)
        yield cost(title, times, device=bench.device.type, bar=bar, about=about)


def modes(bench: Bench) -> Iterator[Figure]:
    """bfloat16 and channels-last beside float32 and PyTorch's own layout."""
    config = bench.large
    step = training_step(bench, BASELINE, config, bench.batch)
    plain = training_step(bench, BASELINE, config, bench.batch, PLAIN)
    plain.plain_layout()
    times = alternate(step, plain, rounds=bench.turns(5), warm_up=1)
    title = "training step, bfloat16 channels-last ÷ float32 contiguous"
    about = _about(config, bench.batch)
    yield cost(title, times, device=bench.device.type, bar=MODE_BAR, about=about)


def _about(config: Config, images: int) -> dict:
    return {"image_size": config.data.image_size, "batch": images, "precision": config.train.precision}
