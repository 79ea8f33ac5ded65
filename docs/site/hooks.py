"""Hooks of MkDocs: pages come from where they lie in the repository, so that a link that works
there works on the site, and the other way round."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SHOWN = (
    *("*.md", "docs/*.md", "reports/*.md", "reports/figures/*.png"),
    *("LICENSE", "CITATION.cff"),
)


def on_files(files: Files, config: Any) -> Files:
    """The files of the site: those of the theme, and of the repository what `SHOWN` names."""
    names = sorted(path.relative_to(ROOT) for shown in SHOWN for path in ROOT.glob(shown))
    own = [
        File(name.as_posix(), str(ROOT), config["site_dir"], config["use_directory_urls"])
        for name in names
    ]
    return Files([*own, *(file for file in files if file.src_dir != config["docs_dir"])])


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Markdown in what is folded, as GitHub has it. Tables of numbers are not searched."""
    if page.file.src_uri.startswith("reports/"):
        page.meta["search"] = {"exclude": True}
    return markdown.replace("<details>", '<details markdown="1">')
