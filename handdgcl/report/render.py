"""Executed notebooks as self-contained pages: `python -m handdgcl.report.render`.

Pictures, style and formulas (MathML) are inside a page: opening it asks no network for anything.
"""

import base64
import logging
import re
from os.path import relpath
from pathlib import Path

import cv2
import nbformat
import numpy as np
from jinja2 import PackageLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from handdgcl.files import InputError, write_file
from handdgcl.project import Project, enter_project, in_one_line, show_progress

SOURCES = Path("notebooks")  # what links in a notebook are relative to
INDEX = "06_tables"  # the lesson that is the report's first page
WEBP_QUALITY = 90
# The first of these that an output has is shown.
SHOWN = ("text/html", "text/markdown", "image/svg+xml", "image/png", "text/latex", "text/plain")
WIDGET = "application/vnd.jupyter.widget-view+json"  # a progress bar, which a page cannot show

log = logging.getLogger(__name__)


class Renderer(IPythonRenderer):
    """Markdown to HTML: formulas as MathML, headings with ids, links to other lessons' pages.

    Args:
        folder: where the page will be.
        names: stems of all executed notebooks.

    Attributes:
        headings: (level, id, HTML) of all headings so far.
    """

    def __init__(self, folder: Path, names: list[str]):
        super().__init__(escape=False, embed_images=True, path=".")
        self.folder, self.names, self.headings = folder, names, []

    def block_math(self, body: str) -> str:
        """A formula on its own line."""
        return f'<div class="wide">{convert(body, display="block")}</div>'

    def inline_math(self, body: str) -> str:
        """A formula in a line of text."""
        return convert(body)

    def latex_environment(self, name: str, body: str) -> str:
        """As `block_math`."""
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")

    def heading(self, text: str, level: int, **attrs) -> str:
        """A heading that can be linked to."""
        slug = re.sub(r"\W+", "-", plain(text).lower()).strip("-")
        taken = {name for _, name, _ in self.headings}
        slug = next(name for name in (slug, *(f"{slug}-{k}" for k in range(2, 99))) if name not in taken)
        self.headings.append((level, slug, text))
        return f'<h{level} id="{slug}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link; one to a notebook goes to its page, one to another file is seen from the page."""
        target, mark, fragment = url.partition("#")
        if target.endswith(".ipynb") and "/" not in target:
            # A lesson that runs for several rows has a page for each; the first one is linked.
            page = next((name for name in self.names if name.startswith(Path(target).stem)), None)
            if page is None:
                return text
            url = page_name(page) + mark + fragment
        elif target and not re.match(r"[a-z]+:|/", target):
            url = relpath(SOURCES / target, self.folder) + mark + fragment
        return super().link(text, url, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture, which goes into the page; one in a file is named from the notebook's folder."""
        inside = url if re.match(r"[a-z]+:|/", url) else relpath(SOURCES / url)
        return super().image(text, inside, title)

    def table(self, text: str) -> str:
        """A table that scrolls in its own box."""
        return f'<div class="wide"><table>{text}</table></div>\n'


def render_profile(project: Project) -> list[Path]:
    """Render all executed notebooks of a profile, the lessons and the report's, each linked to all others.

    Raises:
        InputError: there are none, one cannot be read, or a page could not be written.
    """
    source, folder = project.runs / "notebooks", project.reports
    paths = [*source.glob("*.ipynb"), *project.runs.glob(f"{INDEX}.ipynb")]
    paths.sort(key=lambda path: path.name)
    if not paths:
        raise InputError(f"{source}: no executed notebook; run `dvc repro` first")
    names, pages = [path.stem for path in paths], []
    for path in paths:
        try:
            notebook = nbformat.read(path, as_version=4)
        except (OSError, ValueError, nbformat.ValidationError) as error:
            raise InputError(
                f"{path}: not a notebook ({error}); delete it and run `dvc repro` again"
            ) from error
        pages.append(folder / page_name(path.stem))
        content = render(notebook, path.stem, names, folder)
        write_file(pages[-1], content)
    return pages


def page_name(stem: str) -> str:
    """The page of a notebook."""
    return "index.html" if stem == INDEX else f"{stem}.html"


def render(notebook: NotebookNode, name: str, names: list[str], folder: Path) -> str:
    """One page.

    Args:
        notebook: executed; its Markdown is replaced by HTML.
        name: its file's stem.
        names: those of all lessons, for the navigation.
        folder: where the page will be.
    """
    renderer = Renderer(folder, names)
    markdown, contents = MarkdownWithMath(renderer), False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # The list of contents stands before the first section, after the title and what opens the page.
            cell.metadata["contents"] = not contents and cell.source.startswith("## ")
            contents |= cell.metadata["contents"]
            renderer.attachments = cell.get("attachments", {})
            cell.source = markdown.render(cell.source)
        elif cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            section = plain(renderer.headings[-1][2]) if renderer.headings else name
            for output in cell.outputs:
                if "data" in output:
                    _simplify(output.data, markdown, alt=section)
    titles = [plain(text) for level, _, text in renderer.headings if level == 1]
    exporter = HTMLExporter(extra_loaders=[PackageLoader("handdgcl", "report")], template_file="page.html.j2")
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    page = {
        "title": titles[0] if titles else name,
        "links": [(lesson.replace("_", " "), page_name(lesson), lesson == name) for lesson in names],
        "headings": [heading for heading in renderer.headings if heading[0] in (2, 3)],
        "highlight": HtmlFormatter().get_style_defs(".highlight"),
    }
    return exporter.from_notebook_node(notebook, resources={"page": page})[0]


def plain(html: str) -> str:
    """A line of HTML without its tags."""
    return re.sub(r"<[^>]+>", "", html)


def _simplify(data: dict, markdown: MarkdownWithMath, *, alt: str) -> None:
    """Keep what the page shows of an output: HTML or text; `alt` is the section that a picture stands in."""
    kind = next((kind for kind in SHOWN if kind in data), None)
    content = data.get(kind, "")
    data.clear()
    if kind in ("text/markdown", "text/latex"):
        data["text/html"] = markdown.render(content)
    elif kind == "image/png":
        data["text/html"] = f'<figure><img src="{_webp(content)}" alt="{alt}"></figure>'
    elif kind == "text/html":  # words are set to the left, numbers to the right
        data[kind] = re.sub(r"<td([^>]*)>(?=\s*[A-Za-z(])", r'<td\1 style="text-align: left">', content)
    elif kind == "image/svg+xml":
        data["text/html"] = f"<figure>{content}</figure>"
    elif kind:
        data[kind] = content


def _webp(png: str) -> str:
    """A PNG in base64 as a data address, in WebP: far smaller, so that pages can be kept in Git."""
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_UNCHANGED)
    _, webp = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


if __name__ == "__main__":
    show_progress()
    with in_one_line():
        for written in render_profile(enter_project()):
            log.info("%s", written)
