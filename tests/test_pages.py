"""Executed notebooks become pages that need nothing from outside."""

import base64
import re

import cv2
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from handdgcl.files import InputError
from handdgcl.project import Project
from handdgcl.report.render import render_profile

LINKS = "[m](03_egd-mask.ipynb#method) [r](../reports/reading.md) [p](https://arxiv.org/)"


@pytest.fixture
def project(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tiny_config)
    (project.runs / "notebooks").mkdir(parents=True)
    return project


def write(project, name, cells):
    folder = project.runs if name == "06_tables" else project.runs / "notebooks"
    nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")


def code(source="x = 1", *outputs, **metadata):
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def shown(kind, content):
    return new_output("display_data", {kind: content, "text/plain": "<Figure size 640x480>"})


def page(project, *cells, name="06_tables"):
    write(project, name, [new_markdown_cell("# Results"), *cells])
    (path,) = render_profile(project)
    return path.read_text()


def test_lessons_are_linked_both_ways_and_the_tables_come_first(project):
    for name in ("01_data", "03_egd-mask", "06_tables"):
        write(project, name, [new_markdown_cell(f"# Title of *{name[:2]}*\n\n{LINKS}")])
    written = {path.name: path.read_text() for path in render_profile(project)}
    assert list(written) == ["01_data.html", "03_egd-mask.html", "index.html"]
    for name, html in written.items():
        assert all(f'href="{other}"' in html for other in written)
        for navigation in BeautifulSoup(html, "html.parser").find_all("nav"):
            assert navigation.find(attrs={"aria-current": "page"})["href"] == name
        assert 'href="03_egd-mask.html#method"' in html and 'href="https://arxiv.org/"' in html
    assert "<title>Title of 03 " in written["03_egd-mask.html"]
    folder = project.reports
    relative = re.search(r'href="([^"]*reading.md)"', written["index.html"])[1]
    assert (folder / relative).resolve() == (folder.parents[-2] / "reading.md").resolve()


def test_nothing_is_asked_of_a_network(project):
    _, png = cv2.imencode(".png", np.full((40, 60, 3), 77, np.uint8))
    picture = shown("image/png", base64.b64encode(png.tobytes()).decode())
    html = page(project, new_markdown_cell("$$x^2$$"), code("x", picture))
    assert not re.search(r"<(script|link|iframe)|@import|url\(|src=[\"'](?!data:)", html)
    image = BeautifulSoup(html, "html.parser").find("img", alt="Results")
    webp = base64.b64decode(image["src"].removeprefix("data:image/webp;base64,"))
    assert abs(cv2.imdecode(np.frombuffer(webp, np.uint8), 1).astype(int) - 77).max() <= 2


def test_formulas_are_mathml_and_headings_can_be_linked_to(project):
    text = "## Why $G$?\n\nIt is $\\hat G$.\n\n$$\\mathcal{L} = \\frac{1}{2}$$\n\n## Why $G$?\n\n### Deeper"
    html = page(project, new_markdown_cell(text))
    assert html.count("<math") >= 5 and "<mfrac>" in html and "$" not in html.split("<main>")[1]
    ids = re.findall(r'<h[123] id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) == 4
    assert re.findall(r'href="#([^"]+)"', html) == ids[1:]


def test_code_and_logs_are_folded_and_results_are_not(project):
    noise = [new_output("stream", name="stderr", text=f"epoch {k}\n") for k in range(2)]
    text = new_output("stream", name="stdout", text="shape <2, 3>")
    bar = shown("application/vnd.jupyter.widget-view+json", {"model_id": "x"})
    error = new_output("error", ename="E", evalue="v", traceback=["\x1b[31mbroken\x1b[0m"])
    html = page(project, code("answer = 42", *noise, text, bar, error), code("b = 2", tags=["show-code"]))
    parsed = BeautifulSoup(html, "html.parser")
    folded = [details.text for details in parsed.find_all("details")]
    assert len(folded) == 3 and "answer = 42" in folded[0] and "epoch 0\nepoch 1" in folded[1]
    assert "shape &lt;2, 3&gt;" in html and "shape" not in "".join(folded)
    assert "Figure size" not in html and "broken" in html and "\x1b" not in html
    assert [details.text for details in parsed.find_all("details", open=True)] == [folded[2]]


def test_tables_scroll_and_keep_their_captions(project):
    styled = "<table><caption>Errors, mm</caption><tr><td class='a'>GCN</td><td>9.97</td></tr></table>"
    html = page(project, new_markdown_cell("|a|b|\n|-|-|\n|1|2|"), code("t", shown("text/html", styled)))
    assert html.count('<div class="wide"><table>') == 2 and "<caption>Errors, mm</caption>" in html
    words, number = BeautifulSoup(html, "html.parser").find_all("table")[1].find_all("td")
    assert words["style"] == "text-align: left" and not number.has_attr("style")


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_notebooks_that_are_not_there_or_broken_are_refused(project, content):
    if content:
        (project.runs / "notebooks" / "01_data.ipynb").write_text(content)
    with pytest.raises(InputError, match=r"01_data\.ipynb" if content else "dvc repro"):
        render_profile(project)
