"""Hands that a reader can turn, offline: three.js as trimesh ships it (MIT), in a frame of the page."""

import base64
import json
from html import escape

import numpy as np
import torch
from IPython.display import HTML
from jinja2 import Environment, PackageLoader
from torch import Tensor
from trimesh import resources, util

from handdgcl.hands import Hands
from handdgcl.hands.camera import MM
from handdgcl.hands.topology import HANDS
from handdgcl.report.pictures import HAND_COLOURS, centred

HEIGHT_PX = 420
TO_VIEWER = torch.tensor([1.0, -1.0, -1.0])  # from the camera's axes (y down, z away) to three.js's
AFTER_THREE = "var camera,controls"  # where trimesh's own program begins, in its page


def turntable(samples: dict[str, dict[str, Tensor]], hands: Hands) -> HTML:
    """Pairs of hands side by side, which turn together when one is dragged; a button for each sample.

    Args:
        samples: button's text -> title -> vertices `[H, V, 3]`, metres, camera axes; the same titles in all.
    """
    placed = {
        name: {title: TO_VIEWER * MM * centred(vertices) for title, vertices in pairs.items()}
        for name, pairs in samples.items()
    }
    titles = list(next(iter(samples.values())))
    everything = [vertices for pairs in placed.values() for vertices in pairs.values()]
    data = {
        "titles": titles,
        "radius": round(max(v.norm(dim=-1).max().item() for v in everything)),
        "colours": ["#{:02x}{:02x}{:02x}".format(*HAND_COLOURS[hand]) for hand in HANDS],
        "faces": [_text(hands.faces[h].numpy().astype(np.uint16)) for h in range(len(HANDS))],
        "samples": [
            {"title": name, "meshes": [[_text(hand.numpy()) for hand in pairs[title]] for title in titles]}
            for name, pairs in placed.items()
        ],
    }
    template = Environment(loader=PackageLoader("handdgcl.report", ".")).get_template("turntable.html.j2")
    page = template.render(three=_three(), data=json.dumps(data))
    frame = f'width="100%" height="{HEIGHT_PX}" style="border: 0" loading="lazy" title="Hands in 3D"'
    return HTML(f'<div><iframe {frame} srcdoc="{escape(page)}"></iframe></div>')


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array)).decode()


def _three() -> str:
    """three.js, which sets the name THREE, out of the page that trimesh's viewer is made of."""
    files = util.decompress(resources.get_bytes("templates/viewer.zip"), "zip")
    page = files["viewer.html.template"].read().decode()
    return page[page.index("<script>") + len("<script>") : page.index(AFTER_THREE)]
