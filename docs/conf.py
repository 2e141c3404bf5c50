"""How `make docs` makes a site of the Markdown files, which GitHub shows as they are.

The whole repository is the source, so that links may lead out of this folder: to another page,
or to a file, which is copied. docs/README.md is the navigation.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[1]
CHAPTER = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
ENTRY = re.compile(r"^- \[(.+?)\]\((.+?)\.md\)", re.MULTILINE)
FOLDER = re.compile(r"(\]\((?!\w+:|#)[^)#]*[^)#/])/?\)")

project = "Federated-learning server"
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "*/README.md", "*/*/README.md"]
exclude_patterns = [".*", "build", "var", "**/node_modules"]  # isn't looked through
extensions = ["myst_parser"]
myst_heading_anchors = 4  # named as GitHub names them
myst_fence_as_directive = ["mermaid"]
nitpicky = True  # a link that leads nowhere is a warning, and `make docs` takes none
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}


class Mermaid(SphinxDirective):
    """A graph as a table, because drawing it would take a browser or a script from elsewhere."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return a line for each node that has arrows."""
        arrows: dict[str, list[str]] = {}
        for start, end in re.findall(r"(\w+) --> (\w+)", "\n".join(self.content)):
            arrows.setdefault(start, []).append(end)
        rows = [f"| `{start}` | {', '.join(ends)} |" for start, ends in arrows.items()]
        return self.parse_text_to_nodes("\n".join(["| from | to |", "| --- | --- |", *rows]))


def prepare(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001 (Sphinx's signature)
    """Have a link to a folder lead to its README, as on GitHub; give the first page the menu."""
    here = (ROOT / page).parent

    def readme(link: re.Match[str]) -> str:
        target = link[1].partition("](")[2]
        return f"{link[1]}/README.md)" if (here / target / "README.md").exists() else link[0]

    source[0] = FOLDER.sub(readme, source[0])
    if page == root_doc:
        source[0] += "".join(menu((ROOT / "docs/README.md").read_text()))


def menu(text: str) -> Iterator[str]:
    """Yield a toctree for each chapter of the navigation."""
    for caption, body in CHAPTER.findall(text):
        entries = [f"{words} </{normpath(f'docs/{path}')}>" for words, path in ENTRY.findall(body)]
        yield "\n".join(
            ["", "```{toctree}", ":hidden:", f":caption: {caption}", *entries, "```", ""]
        )


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the above."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", prepare)
