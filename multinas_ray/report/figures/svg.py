"""A figure as SVG inside a page: it is small, its style sheet gives the colours, and its texts remain texts."""

import io
import re
from collections.abc import Mapping
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

from multinas_ray.report.figures.labels import HALO
from multinas_ray.report.figures.look import MARKED_NETWORK, variables_of_markers
from multinas_ray.report.figures.pareto import CLOUD

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_REFERENCE = re.compile(r"(?<=#)[A-Za-z][\w-]*(?=\)|$)")
_SIZE = re.compile(r"(?:(\d+) )?([\d.]+)px")


def svg_of(figure: Figure, *, label: str, prefix: str) -> str:
    """Draw a figure as an `svg` element to stand in a page.

    The stand-in colours of a look become variables of the style sheet: `--paper`, `--ink`, `--muted`, `--grid`,
    `--early`, `--late` and `--network-0`, .... Texts have the font of the page; texts that lie over marks have the
    class `halo`. A cloud of points becomes one path of dots. The element has a viewBox and no size.

    Args:
        figure: The figure.
        label: A description for readers who cannot see the figure.
        prefix: Prefix of every id, so that the ids of one page differ.
    """
    drawn = io.StringIO()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is laid out now; saving would do so again
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "path.simplify_threshold": 0.3}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(drawn.getvalue())
    shapes = {shape.get("id", ""): shape for shape in root.iter(f"{_SVG}path")}
    for group in root.iter(f"{_SVG}g"):
        if group.get("id") == CLOUD:
            _join_points(group, shapes)
    _clean(root, prefix)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": label, "class": "drawing"})
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _join_points(group: ElementTree.Element, shapes: Mapping[str, ElementTree.Element]) -> None:
    """Draw the marks of a cloud as the dots of one path. Their shapes stay, since a legend may use them too."""
    marks = list(group.iter(f"{_SVG}use"))
    if not marks:
        return
    shape = shapes[marks[0].get(_HREF, "").removeprefix("#")]
    clip = next((each.get("clip-path") for each in group.iter() if each.get("clip-path")), None)
    width = 2 * max(abs(float(number)) for number in re.findall(r"-?\d*\.?\d+", shape.get("d", "")))
    colour = _fill(marks[0].get("style") or shape.get("style") or "")
    dots = "".join(f"M{float(mark.get('x', 0)):.1f} {float(mark.get('y', 0)):.1f}h0" for mark in marks)
    for child in list(group):
        if child.tag != f"{_SVG}defs":
            group.remove(child)
    style = f"fill: none; stroke: {colour}; stroke-width: {width:.2f}; stroke-linecap: round"
    path = ElementTree.SubElement(group, f"{_SVG}path", {"d": dots, "style": style})
    if clip is not None:
        path.set("clip-path", clip)


def _fill(style: str) -> str:
    found = re.search(r"fill: (#[0-9a-fA-F]{6})", style)
    return found[1] if found else "currentColor"


def _clean(root: ElementTree.Element, prefix: str) -> None:
    """Remove what a page does not need, and convert colours, ids, numbers and texts to the form of the page."""
    _remove_unseen(root)
    used = {name for element in root.iter() for value in element.attrib.values() for name in _REFERENCE.findall(value)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        _convert_attributes(element, used, prefix)
        element.tail = None
        element.text = element.text if element.tag in ("text", "tspan") else None


def _remove_unseen(root: ElementTree.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)


def _convert_attributes(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    """Keep only ids that are used, and convert the other attributes."""
    name = element.attrib.pop("id", None)
    if name == HALO:
        element.set("class", HALO)
    elif name in used:
        element.set("id", f"{prefix}-{name}")
    if _HREF in element.attrib:
        element.set("href", element.attrib.pop(_HREF))
    for key, value in element.attrib.items():
        if key != "id":
            element.set(key, _attribute(key, value, prefix))


def _attribute(key: str, value: str, prefix: str) -> str:
    if key in ("href", "clip-path"):
        return _REFERENCE.sub(lambda found: f"{prefix}-{found[0]}", value)
    value = _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    if key == "style":
        return _style(value)
    return " ".join(value.split())


def _style(style: str) -> str:
    """Replace colours by variables, and keep only the size and weight of fonts."""
    rules = [rule.strip() for rule in style.split(";") if rule.strip()]
    kept: list[str] = []
    for rule in rules:
        name, _, value = (part.strip() for part in rule.partition(":"))
        if name == "font" and (found := _SIZE.search(value)):
            kept += [f"font-weight: {found[1]}"] * bool(found[1] or "") + [f"font-size: {found[2]}px"]
        elif name not in ("font", "font-family"):
            kept.append(f"{name}: {value}")
    return _COLOUR.sub(_variable, "; ".join(kept))


def _variable(found: re.Match[str]) -> str:
    colour = found[0].lower()
    if colour.startswith(MARKED_NETWORK):
        return f"var(--network-{int(colour.removeprefix(MARKED_NETWORK), 16)})"
    return variables_of_markers().get(colour, colour)
