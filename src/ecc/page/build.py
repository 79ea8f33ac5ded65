"""The folder of the page: one document, its data, its libraries and the audio.

Browsers let no page that was opened from a folder read a file beside it, but run the scripts that
it names. So data and audio are scripts too, in base64: a clip is a FLAC file, byte for byte; the
data are JSON in gzip, or they would be the most of the page.
"""

import base64
import gzip
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy.typing as npt
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ecc import audio

LIBRARIES = ("d3/dist/d3.min.js", "@observablehq/plot/dist/plot.umd.min.js")
"""Below node_modules, in the order in which they are loaded."""
TEMPLATE, OWN = "page.html.jinja", ("page.css", "page.js")


class PageError(Exception):
    """The page cannot be built; the message is one line."""


class Audio:
    """Clips in a folder, each once, however often it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, flac: bytes) -> str:
        """Write a FLAC file as a script that calls `clip(name, base64)`; returns its name."""
        name = hashlib.sha256(flac).hexdigest()[:16]
        path = self.folder / f"{name}.js"
        if not path.exists():
            path.write_text(f'clip("{name}","{base64.b64encode(flac).decode()}")\n', "ascii")
        return name

    def add_samples(self, samples: npt.NDArray[Any]) -> str:
        """The same for int16 [samples] at 16 kHz."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.flac"
            audio.write(path, samples)
            return self.add(path.read_bytes())


def write_page(
    folder: Path,
    study: Mapping[str, Any],
    texts: Mapping[str, str],
    facts: Mapping[str, Any],
    figures: Path,
    modules: Path,
) -> None:
    """Write index.html and all that it needs but the audio into `folder`.

    study: what page.js reads; texts: documents in Markdown by their names, the report first, whose
    title is that of the page; facts: what else the template shows; figures: pictures that the
    texts name as figures/NAME; modules: the folder node_modules.
    Raises `PageError` where a library is not installed.
    """
    missing = [name for name in LIBRARIES if not (modules / name).is_file()]
    if missing:
        raise PageError(f"{modules / missing[0]} is missing; `npm ci` installs it (Debian: npm)")
    (folder / "lib").mkdir()
    for name in LIBRARIES:
        shutil.copyfile(modules / name, folder / "lib" / Path(name).name)
    here = resources.files(__package__)
    for name in OWN:
        (folder / name).write_text((here / name).read_text("utf-8"), "utf-8")
    data = json.dumps(study, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(data.encode(), mtime=0)).decode()
    (folder / "data.js").write_text(f'const PACKED = "{packed}"\n', "ascii")

    title, intro, body, contents = document(texts)
    shown = set(re.findall(r'src="figures/([^"/]+)"', body))
    (folder / "figures").mkdir()
    for name in sorted(shown):
        shutil.copyfile(figures / name, folder / "figures" / name)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((here / TEMPLATE).read_text("utf-8"))
    html = template.render(
        title=title,
        intro=intro,
        report=body,
        contents=contents,
        scripts=[f"lib/{Path(name).name}" for name in LIBRARIES] + ["data.js"],
        **facts,
    )
    (folder / "index.html").write_text(html, "utf-8")


def document(texts: Mapping[str, str]) -> tuple[str, str, str, list[dict[str, Any]]]:
    """Documents in Markdown, by their names, as one in HTML: the title of the first, its text
    before the first section, all sections, and the table of contents.

    Sections of the others lie one level deeper, below their titles, where links to them lead.
    Headings have the anchors that GitHub gives them. What is wide can be scrolled by itself and by
    keyboard.
    """
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens: list[Token] = []
    titles: dict[str, Token] = {}  # a heading, by the name of its document
    for number, (name, text) in enumerate(texts.items()):
        found = markdown.parse(text)
        titles[name] = found[0]
        for token in found if number else []:
            if token.type in ("heading_open", "heading_close"):
                token.tag = f"h{int(token.tag[1]) + 1}"
        tokens += found
    contents: list[dict[str, Any]] = []
    title = ""
    seen: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            inline = tokens[number + 1]
            words = "".join(part.content for part in inline.children or [])
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            seen[slug] = seen.get(slug, -1) + 1
            slug += f"-{seen[slug]}" if seen[slug] else ""
            token.attrSet("id", slug)
            level = int(token.tag[1])
            if level == 1:
                title = words
            elif level == 2:
                contents.append({"id": slug, "title": words, "parts": []})
            elif level == 3 and contents:
                contents[-1]["parts"].append({"id": slug, "title": words})
        for part in token.children or []:
            if part.type == "image":
                part.attrSet("loading", "lazy")
    for token in tokens:
        for part in token.children or []:
            if part.type == "link_open" and (leads := titles.get(str(part.attrGet("href")))):
                # The first title is that of the page.
                part.attrSet("href", "#top" if leads is tokens[0] else f"#{leads.attrGet('id')}")
    sections = next((i for i, t in enumerate(tokens) if t.tag == "h2"), len(tokens))
    start = 3 if tokens and tokens[0].tag == "h1" else 0

    def html(of: Sequence[Token]) -> str:
        text = markdown.renderer.render(of, markdown.options, {})
        text = re.sub(r' style="text-align:left"', "", text)
        text = text.replace("<th></th>", "<td></td>")
        text = text.replace("<table>", '<div class="wide" tabindex="0"><table>')
        text = text.replace("</table>", "</table></div>")
        text = re.sub(r"</(?:td|th|tr)>\n", "", text)  # HTML has them without: a fifth of it all
        return text.replace("<pre>", '<pre tabindex="0">')

    return title, html(tokens[start:sections]), html(tokens[sections:]), contents
