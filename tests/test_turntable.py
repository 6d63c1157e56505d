"""The hands that a reader turns: the data in the page, and a drag in headless Chromium where there is one."""

import base64
import html
import io
import itertools
import json
import re
import shutil
import subprocess
import time

import cv2
import numpy as np
import pytest
import torch
import websocket
from PIL import Image

from handdgcl.hands.topology import HANDS
from handdgcl.report.turntable import turntable

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TITLES = ("Truth", "Baseline", "DGCLNet", "DGCLNet*")


def page_of(hands):
    apart = torch.tensor([[[0.1, 0, 0]], [[-0.1, 0, 0]]])
    pair = hands.template.detach() + apart
    return turntable({"easy": dict.fromkeys(TITLES, pair), "hard": dict.fromkeys(TITLES, 0.8 * pair)}, hands)


def test_the_page_holds_the_hands_and_asks_for_nothing(hands):
    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', page_of(hands).data).group(1))
    program = inside[inside.index("const data") :]
    assert "http" not in program and len(inside) < 2_000_000
    data = json.loads(re.search(r"const data = (.*);\n", program).group(1))
    decode = lambda text, kind: np.frombuffer(base64.b64decode(text), kind).reshape(-1, 3)
    easy, hard = ([decode(h, "<f4") for h in sample["meshes"][0]] for sample in data["samples"])
    assert [len(hand) for hand in easy] == [778, 778]
    both = np.concatenate(easy)
    assert np.allclose(both.min(0) + both.max(0), 0, atol=1e-3) and data["radius"] < 400
    assert np.allclose(np.concatenate(hard), 0.8 * both, atol=1e-2)
    for h in range(len(HANDS)):
        assert np.array_equal(decode(data["faces"][h], "<u2"), hands.faces[h].numpy())


class Browser:
    """Headless Chromium by its debugging protocol."""

    def __init__(self, folder, url):
        flags = ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=900,640"]
        flags += ["--remote-allow-origins=*", "--disable-background-networking"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([CHROMIUM, *flags, "about:blank"], **quiet)
        port = folder / "DevToolsActivePort"
        for _ in range(300):
            if port.exists() and port.read_text().count("\n"):
                break
            time.sleep(0.1)
        number, path = port.read_text().split()
        self.ids = itertools.count(1)
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{number}{path}", timeout=60)
        target = self("Target.createTarget", url=url)["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __call__(self, method, **parameters):
        number = next(self.ids)
        session = {"sessionId": self.session} if hasattr(self, "session") else {}
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters} | session))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def picture(self):
        png = base64.b64decode(self("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)

    def mouse(self, kind, x, y, buttons):
        button = "left" if kind != "mouseMoved" else "none"
        self(
            "Input.dispatchMouseEvent",
            **{"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1},
        )

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_drag_turns_all_hands_alike(hands, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><body style='margin:0'>" + page_of(hands).data, encoding="utf-8")
    browser = Browser(tmp_path / "profile", page.as_uri())
    try:
        for _ in range(100):  # until the hands are drawn
            before = browser.picture()
            if (before[60:360] < 250).any(-1).mean() > 0.02:
                break
            time.sleep(0.2)
        browser.mouse("mousePressed", 100, 200, 1)
        for step in range(1, 9):
            browser.mouse("mouseMoved", 100 + 12 * step, 200 + 8 * step, 1)
        browser.mouse("mouseReleased", 196, 264, 0)
        after = browser.picture()
    finally:
        browser.close()
    width = before.shape[1] // len(TITLES)
    hands_in = lambda picture: [
        (picture[40:380, k * width : (k + 1) * width - 4] < 250).any(-1) for k in range(len(TITLES))
    ]
    overlap = lambda a, b: (a & b).sum() / (a | b).sum()
    for now, then in zip(hands_in(after), hands_in(before), strict=True):
        assert overlap(now, then) < 0.5
        # Edges may be off by one.
        first = cv2.dilate(hands_in(after)[0].astype(np.uint8), np.ones((5, 5))) > 0
        assert (now & first).sum() > 0.95 * now.sum()
