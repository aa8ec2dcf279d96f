"""Reads a report as a browser would, and checks what every page must hold to."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input", "col"}


class Page(HTMLParser):
    """The elements of a page: tags balanced, texts by element."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)

    @property
    def text(self):
        """All texts, spaces joined."""
        return " ".join(" ".join(self.pieces).split())

    def attributes(self, *names):
        return [attrs[name] for _, attrs in self.elements for name in names if name in attrs]

    def all(self, tag, **wanted):
        """Attributes of each element of a kind."""
        matches = [attrs for each, attrs in self.elements if each == tag]
        return [attrs for attrs in matches if all(attrs.get(name) == value for name, value in wanted.items())]

    def section(self, name):
        """Text of one section."""
        found = re.search(rf'<section id="{name}">.*?</section>', self.html, re.DOTALL)
        assert found, name
        return Page(found[0]).text


def checked(html):
    """Parse a page; it must be whole, need nothing from elsewhere, run nothing, and refer to what is there."""
    page = Page(html)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert page.all("script") == []
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert "http" not in html.lower()
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {f"#{name}" for name in ids}
    for target in page.attributes("href", "src", "xlink:href"):
        assert target == "data:," or target.removeprefix("#") in ids, target
    defined = set(re.findall(r"--([\w-]+):", html))
    assert set(re.findall(r"var\(--([\w-]+)\)", html)) <= defined
    assert not re.search(r"#(?:00f00\d|f0[0-9a-f]{4})\b(?!;)", html.partition("</style>")[2]), "a stand-in was left"
    assert all(attrs["aria-label"] for attrs in page.all("svg"))
    return page
