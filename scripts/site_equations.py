"""A hook of the documentation's build: equations become MathML, which browsers draw by themselves.

So a page needs no script and no font from elsewhere. An equation that cannot be understood ends the build.
"""

import html
import re

from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_CONVERTER = LatexToMathML(
    macros={
        "softmax": r"\operatorname{softmax}",
        "MLP": r"\operatorname{MLP}",
        "LN": r"\operatorname{LN}",
        "KL": r"\operatorname{KL}",
        "diag": r"\operatorname{diag}",
    },
    fancy_error=False,
)


def on_page_content(content: str, page: Page, **_: object) -> str:
    """Replaces what pymdownx.arithmatex has marked."""

    def drawn(found: re.Match[str]) -> str:
        latex = html.unescape(found[2]).strip()
        try:
            return _CONVERTER.convert_with_local_state(latex, displaystyle=found[1] == "div")
        except LatexError as error:
            raise PluginError(
                f"{page.file.src_path}: the equation {latex!r} cannot be drawn: {error}"
            ) from error

    return _EQUATION.sub(drawn, content)
