"""Inference beside the bare backbone's forward pass, evaluation beside the network's."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Subset

from handdgcl.bench.bench import Bench, moved, random_batch
from handdgcl.bench.measure import Figure, alternate, cost, finished
from handdgcl.data.batch import finish
from handdgcl.data.loader import eval_batches
from handdgcl.data.store import Store
from handdgcl.evaluate.run import BATCH, sample_errors
from handdgcl.hands import Hands
from handdgcl.model.metrics import concatenate, error_table, means
from handdgcl.model.network import HandDGCL

INFERENCE_BAR, EVALUATION_BAR = 1.05, 1.10
SAMPLES = {"cpu": 32, "cuda": 512}  # evaluated in each round


def _network(bench: Bench) -> tuple[HandDGCL, Hands]:
    """The large model, untrained, and the hands, on the device."""
    config, hands = bench.large, copy.deepcopy(bench.hands)
    network = HandDGCL(config.encoder, config.graph, hands, pretrained=False).eval()
    return network.to(bench.device), hands.to(bench.device)


@torch.inference_mode()
def inference(bench: Bench) -> Iterator[Figure]:
    """From 8-bit pixels to both meshes in metres, float32 as `handdgcl predict` has it."""
    network, _ = _network(bench)
    pixels = random_batch(bench.batch, bench.large.data.image_size, bench.hands, bench.device).image
    ready = (pixels.float() / 255).contiguous(memory_format=torch.channels_last)

    def ours() -> None:
        network(pixels).metric_vertices()
        finished(bench.device)

    def bare() -> None:
        _ = network.encoder.resnet(ready).pooler_output
        finished(bench.device)

    about = {"image_size": pixels.shape[-1], "batch": bench.batch, "precision": "float32"}
    times = alternate(ours, bare, rounds=bench.turns(9))
    title = "inference, image to both meshes ÷ bare backbone's forward pass"
    yield cost(title, times, device=bench.device.type, bar=INFERENCE_BAR, about=about)


@torch.inference_mode()
def evaluation(bench: Bench) -> Iterator[Figure]:
    """From the store to the means of all position errors, as `evaluate_checkpoint` does."""
    network, hands = _network(bench)
    store = Store(bench.stores[0])
    samples = Subset(store, range(min(SAMPLES[bench.device.type], len(store))))
    table = store.table.iloc[: len(samples)]
    ready = [finish(moved(raw, bench.device), hands).image for raw in _batches(samples)]

    def ours() -> dict[str, float]:
        errors: list[dict[str, Tensor]] = []
        for raw in _batches(samples):
            batch = finish(moved(raw, bench.device), hands)
            errors.append(sample_errors(network(batch.image), batch, hands))
        return means(error_table(concatenate(errors), table))

    def bare() -> None:
        for image in ready:
            network(image)
        finished(bench.device)

    about = {"image_size": store.size, "samples": len(samples), "precision": "float32"}
    times = alternate(ours, bare, rounds=bench.turns(5), warm_up=1)
    title = "evaluation, all position errors ÷ bare forward pass of the network"
    yield cost(title, times, device=bench.device.type, bar=EVALUATION_BAR, about=about)


def _batches(samples: Subset):
    return eval_batches(samples, batch_size=min(BATCH, len(samples)), workers=0)
