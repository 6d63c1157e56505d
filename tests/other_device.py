"""Runs as a program: a training step of each row on a device that has a name, types and rules, but no memory.

PyTorch's place for devices of other makers is taken by one whose tensors are fake, with a guard that does
nothing: so a CPU build finds what a GPU would refuse, an operand on another device, backward too. Not in
bfloat16, as autocast knows no such device. What reads values gets none: those places are named below and
replaced. The device is there for all of a process, so tests start it as one. It prints {row: what is wrong},
as JSON.
"""

import copy
import json
from unittest.mock import patch

import torch
from conftest import tiny
from projects import training_module
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils import backend_registration

from handdgcl.data.batch import DrawnBatch
from handdgcl.hands import load_hands
from handdgcl.model import losses
from handdgcl.model.disturb import RandomEdges
from handdgcl.rows import ROWS

B, NAME = 4, "gpu"
tensor, changed_edges = torch.tensor, RandomEdges.forward


class Device(backend_registration._DummyBackendModule):
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])  # asked for where autocast is turned off


def there(*shape, **kind):
    return torch.empty(shape, device=NAME, **kind)


def constant(data, device=None, **kind):
    """torch.tensor, which would ask for memory."""
    made = tensor(data, **kind)
    return made if device is None else torch.empty_like(made, device=device)


def edges(self, G, adjacency, generator):
    """Drawn on the CPU by values, so by the real ones."""
    if not hasattr(self, "of"):
        return changed_edges(self, G, adjacency, generator)
    with unset_fake_temporarily():
        self._of = self._adjacency = self.of
        changed = changed_edges(self, G, self.of, generator)[1]
    return G, torch.empty(changed.shape, dtype=changed.dtype)


def patches():
    """What reads values: OpenCV's rotation of images, and the rasteriser, which counts a mesh's pixels.

    Families draw one image in four, here one.
    """
    S = lambda size: (size, size)
    seen = lambda batch, hands, size, **_: (there(1, 2, *S(size)), there(1, 2, 3, *S(size)))
    made = {"torch.tensor": constant, "handdgcl.model.disturb.RandomEdges.forward": edges}
    made |= {"handdgcl.data.batch.map_images": lambda image, *_: image}
    made |= {f"handdgcl.families.{name}.visible_hands": seen for name in ("maps", "parametric")}
    made["handdgcl.families.pair_judge.visible_joints"] = lambda batch, hands, size: there(1, 2, 21)
    made["handdgcl.families.removal.true_masks"] = lambda batch, hands, size: there(1, 2, 2, *S(size))
    return [patch(name, value) for name, value in made.items()]


def step(row, config, hands):
    module = training_module(row, config, copy.deepcopy(hands))
    if module.dgclnet is not None and isinstance(module.dgclnet.disturbance, RandomEdges):
        module.dgclnet.disturbance.of = module.network.graph_side.adjacency
    with FakeTensorMode(allow_non_fake_inputs=False):
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    fake = there(*value.shape, dtype=value.dtype)
                    part._parameters[name] = torch.nn.Parameter(fake, value.requires_grad)
            for name, value in part._buffers.items():
                if value is not None:
                    part._buffers[name] = there(*value.shape, dtype=value.dtype)
        S, channels = config.data.image_size, 9 if ROWS[row].twins else 3
        vertices, integer = there(B, 2, 778, 3), {"dtype": torch.int64}
        drawn = DrawnBatch(
            image=there(B, channels, S, S, dtype=torch.uint8),
            **{"vertices": vertices, "intrinsics": there(B, 3, 3), "index": there(B, **integer)},
            **{"rotation": there(B, 2, 2), "scale": there(B)},
        )
        loss = module.training_step(drawn, 0)
        loss.backward()
        module.on_train_batch_end(None, drawn, 0)
    grads = {n: p.grad for n, p in module.named_parameters() if p.requires_grad}
    off = [n for n, grad in grads.items() if grad is None or grad.device.type != NAME]
    return f"no gradient there: {off}" if off or loss.device.type != NAME else ""


def main():
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Device())
    config, hands, found = tiny(), load_hands(), {}
    for each in patches():
        each.start()
    for row in ROWS:
        losses._bones.cache_clear()
        try:
            found[row] = step(row, config, hands)
        except Exception as error:
            found[row] = f"{type(error).__name__}: {error}"[:500]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
