"""The repository's Markdown files, as GitHub reads them."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.compose import ROOT

NOT_OURS = {"vendor", "node_modules", "build", "var"}
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/*.md"))
    if NOT_OURS.isdisjoint(path.relative_to(ROOT).parts)
)
"""Their paths from the root on."""


def parsed(page: str) -> list[Token]:
    """Return a page's blocks, in order."""
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text())


def links(page: str) -> Iterator[str]:
    """Yield where the links and pictures of a page lead, but for those to other servers."""
    for block in parsed(page):
        for token in block.children or []:
            target = token.attrGet("href") or token.attrGet("src")
            if target and not re.match(r"\w+:", target):
                yield target


def anchors(path: Path) -> set[str]:
    """Return the names that GitHub gives to a page's headings."""
    names: list[str] = []
    blocks = parsed(str(path.relative_to(ROOT)))
    for before, block in pairwise(blocks):
        if before.type == "heading_open":
            words = "".join(token.content for token in block.children).lower()
            name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            names.append(f"{name}-{names.count(name)}" if name in names else name)
    return set(names)


def commands(page: str) -> list[str]:
    """Return a page's blocks of shell commands, in order."""
    return [block.content for block in parsed(page) if block.type in BLOCKS and _is_shell(block)]


BLOCKS = {"fence", "code_block"}
PROGRAMS = r"(cp|curl|docker|echo|export|git|install|make|openssl|\.venv/bin/\w+|python|source)\b"


def _is_shell(block: Token) -> bool:
    """Tell whether it is said to be, or begins as commands do."""
    if block.type == "fence":
        return block.info in {"sh", "bash"}
    return re.match(PROGRAMS, block.content) is not None
