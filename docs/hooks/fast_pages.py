"""Makes the documentation site fast on phones: MkDocs calls this for each page and at the end.

Four style sheets become one, without rules of parts that no page has; scripts no longer keep a page
from being shown; pictures have their sizes and load when they are needed; tables and code are laid
out when they are near the window; the search index is loaded when someone searches; the theme's
script does not style a page again when it starts.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from PIL import Image

SHEET = "assets/stylesheets/site.css"
LINK = re.compile(r'\s*<link rel="stylesheet" href="([^"]+)">')
SCRIPT = re.compile(r"<script src=")
IMAGE = re.compile(r'<img ([^>]*src="([^"]+)"[^>/]*)/?>')
TABLE = re.compile(r"<table>.*?</table>", re.S)
ROW_REM = 2.4  # height of a row of one line
CODE = re.compile(r"<pre>(?=<span></span><code>(.*?)</code></pre>)", re.S)
CODE_REM, LINE_REM = 1.05, 0.9516  # heights of a block of code without lines, and of a line
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
EMPTY = re.compile(r"@media[^{}]+\{\s*\}")
CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")
# Browsers that know both schemes at once need not style the page again when the theme names one.
SCHEMES = '<meta name="color-scheme" content="light dark">'
# The theme's script adds these classes: a page that has them already is not styled again.
SCRIPTED = '<script>document.documentElement.className="js js-focus-visible"</script>'
CHANGES = (  # in the theme's script: what it has once, and what it becomes
    # Search is loaded with every page, but from the file system with the first search.
    (r'(?<=\()location\.protocol!=="file:"(?=\))', 'location.search.includes("q=")'),
    # A second element for the colour scheme styles the page twice, without effect next to SCHEMES.
    (r'(?<=\("meta",)\{name:"color-scheme"\}', "{}"),
)
# The theme's way to switch colours at once, at the price of styling every page twice when it opens.
SWITCHING = "[data-md-color-switching]"
log = logging.getLogger("mkdocs")


def on_page_content(html: str, **_: Any) -> str:
    """The page's text, with tables and code that need no layout far from the window."""
    return CODE.sub(_put_code_off, TABLE.sub(_put_off, html))


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The page as it is written."""
    root = "../" * page.url.count("/")
    sheets = LINK.findall(output)
    known = config.setdefault("fast_sheets", [])
    known += [sheet for each in sheets if (sheet := each.removeprefix(root)) not in known]
    output = LINK.sub("", output)
    head = f'{SCHEMES}{SCRIPTED}<link rel="stylesheet" href="{root}{SHEET}">'
    output = output.replace("</title>", f"</title>{head}", 1)
    output = SCRIPT.sub("<script defer src=", output)
    folder = Path(config.docs_dir) / Path(page.url).parent
    first = IMAGE.search(output)

    def place(image: re.Match[str]) -> str:
        is_first = first is not None and image.start() == first.start()
        return _place(image[1], folder / image[2], is_first=is_first)

    return IMAGE.sub(place, output)


def on_post_build(config: Any) -> None:
    """Writes the one style sheet, and changes the theme's script."""
    site = Path(config.site_dir)
    [script] = site.glob("assets/javascripts/bundle.*.js")
    code = script.read_text("utf-8")
    for old, new in CHANGES:
        code, found = re.subn(old, new, code)
        if found != 1:
            log.warning("The theme's script has %s %d times, not once: adapt CHANGES.", old, found)
    script.write_text(code, "utf-8")
    texts = [*site.rglob("*.html"), script]
    words = set(re.findall(r"[\w-]+", " ".join(text.read_text("utf-8") for text in texts)))
    whole = "\n".join((site / sheet).read_text("utf-8") for sheet in config["fast_sheets"])
    (site / SHEET).write_text(prune(re.sub(r"/\*.*?\*/", "", whole, flags=re.S), words), "utf-8")


def prune(sheet: str, words: set[str]) -> str:
    """The sheet without selectors of classes that are not among the words."""

    def is_used(selector: str) -> bool:
        plain = re.sub(r":(?:not|is|where)\([^)]*\)", "", selector)
        return SWITCHING not in plain and all(name in words for name in CLASS.findall(plain))

    def keep(rule: re.Match[str]) -> str:
        selectors = rule[1].lstrip()
        if selectors.startswith("@"):
            return rule[0]
        used = [each for each in re.split(r",(?![^(]*\))", selectors) if is_used(each)]
        return f"{','.join(used)}{{{rule[2]}}}" if used else ""

    return EMPTY.sub("", RULE.sub(keep, sheet))


def _put_code_off(code: re.Match[str]) -> str:
    height = CODE_REM + LINE_REM * code[1].count("\n")
    return f'<pre class="near-code" style="contain-intrinsic-height:auto {height:.3f}rem">'


def _put_off(table: re.Match[str]) -> str:
    height = ROW_REM * table[0].count("<tr>")
    return (
        f'<div class="near" style="contain-intrinsic-height:auto {height:.0f}rem">{table[0]}</div>'
    )


def _place(attributes: str, file: Path, *, is_first: bool) -> str:
    if not file.is_file():
        return f"<img {attributes}>"
    with Image.open(file) as image:
        width, height = image.size
    when = 'fetchpriority="high"' if is_first else 'loading="lazy"'
    return f'<img {attributes} width="{width}" height="{height}" {when}>'
