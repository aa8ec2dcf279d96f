"""Formulas become MathML while the site is built, so that a page needs no script and nothing from elsewhere.

A page holds LaTeX between dollar signs, which GitHub shows as formulas too. The extension pymdownx.arithmatex finds it;
this hook of mkdocs replaces what it found.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(?:span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the formulas of a page's HTML."""
    return FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    kind, latex = formula.groups()
    return convert(html.unescape(latex), display="inline" if kind == "(" else "block")
