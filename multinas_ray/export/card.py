"""The model card of an exported network: what it is, how good, how to load it without this package, its limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from multinas_ray.export.description import own_block_types
from multinas_ray.export.formats import ONNX_FILE, OPSET, PT2_FILE, TOLERANCE, WEIGHTS_FILE, FileParity

ARCHITECTURE_FILE = "architecture.json"
CARD_FILE = "README.md"

_CLASSES_SHOWN = 20

_FRONT = """---
pipeline_tag: image-classification
tags: [neural-architecture-search, multinas-ray]
---

"""

_READ = """from PIL import Image, ImageOps
import numpy

image = Image.open("photo.png").convert("{mode}")
image = ImageOps.fit(image, ({width}, {height}), Image.Resampling.BILINEAR, bleed={bleed:.5g})
pixels = numpy.asarray(image).reshape(1, {height}, {width}, {channels}).transpose(0, 3, 1, 2).copy()
"""

_PT2 = """import torch

module = torch.export.load("model.pt2").module()
with torch.no_grad():
    logits = module(torch.from_numpy(pixels))
"""

_ONNX = """import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(logits,) = session.run(["logits"], {"pixels": pixels})
"""

_REBUILD = """import json
from collections import OrderedDict

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.ops import SqueezeExcitation


class Residual(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + x


def layer(d):
    if d.get("type") == "SqueezeExcitation":
        return SqueezeExcitation(d["channels"], d["squeeze_channels"], scale_activation=nn.Hardsigmoid)
    parts = OrderedDict()
    parts["conv"] = nn.Conv2d(d["in_channels"], d["out_channels"], d["kernel_size"], d["stride"],
                              padding=d["kernel_size"] // 2, groups=d["groups"], bias=False)
    parts["norm"] = nn.BatchNorm2d(d["out_channels"])
    if d["activation"]:
        parts["activation"] = {"relu": nn.ReLU, "relu6": nn.ReLU6}[d["activation"]]()
    return nn.Sequential(parts)


def block(d):
    return (Residual if d["residual"] else nn.Sequential)(*map(layer, d["layers"]))


def head(d):
    return nn.Sequential(OrderedDict(features=block(d["features"]), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
                                     classifier=nn.Linear(d["in_channels"], d["num_classes"])))


described = json.load(open("architecture.json"))
stem, blocks = described["network"]["stem"], described["network"]["blocks"]
network = nn.Sequential(OrderedDict(stem=block(stem), blocks=nn.Sequential(*map(block, blocks)),
                                    head=head(described["network"]["head"])))
network.load_state_dict(load_file("weights.safetensors"))
network.eval()
mean, std = (torch.tensor(described["input"][name]).view(-1, 1, 1) for name in ("mean", "std"))
with torch.no_grad():
    logits = network((torch.from_numpy(pixels) / 255 - mean) / std)
"""

_WITH_PACKAGE = """import json

from safetensors.torch import load_file

from multinas_ray.spaces import space_from_dict
from multinas_ray.supernets import build_subnet

described = json.load(open("architecture.json"))
network = build_subnet(space_from_dict(described["space"]), described["indices"])
network.load_state_dict(load_file("weights.safetensors"))
"""

_SOURCES = {
    "digits": "the 8x8 digits inside scikit-learn, their values 0..16 times 255/16, rounded; bright strokes on black",
    "cifar10": "CIFAR-10, photos of 32x32 pixels",
    "folder": "one's own images, a folder for each class; the shorter side scaled and the middle square cut out",
}


def model_card(description: Mapping[str, Any], sizes: Mapping[str, int], parities: Sequence[FileParity]) -> str:
    """The card of a network as Markdown.

    Args:
        description: what `describe_network` gave.
        sizes: size of each file in bytes, by its name.
        parities: how near the programs come to the network.
    """
    with_onnx = ONNX_FILE in sizes
    parts = [
        _FRONT + f"# {description['name']}",
        _summary(description),
        "## Figures\n\n" + _figures(description, sizes),
        "## What goes in and comes out\n\n" + _contract(description, with_onnx),
        "## How to load it\n\n" + _loading(description, with_onnx),
        "## Parity\n\n" + _parity(parities),
        "## Images\n\n" + _images(description),
        "## Training\n\n" + _training(description),
        "## Architecture\n\n" + _architecture(description),
        "## Limits\n\n" + _limits(description),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _summary(description: Mapping[str, Any]) -> str:
    channels, height, width = description["input"]["shape"][1:]
    return (
        f"An image classifier: {len(description['classes'])} classes, images of {channels}x{height}x{width}. Network "
        f"{description['run']['network']} of a search over the space `{description['space']['name']}`, made by "
        f"multinas-ray {description['versions']['export']['multinas-ray']}. {_told_weights(description)}"
    )


def _told_weights(description: Mapping[str, Any]) -> str:
    if description["weights"] == "retrained":
        return "Its weights were trained for this network alone, after the search."
    return (
        "**Its weights are the supernet's**, shared with other networks during the search, with batch-normalisation "
        "statistics of its own: retrained weights are usually better."
    )


def _figures(description: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    results, number = description["results"], description["data"]["num_images"]
    validation, test = f"of {number['validation']:,} validation images", f"of {number['test']:,} test images"
    rows = [(name, f"{_amount(cost['value'])} {cost['unit']}".strip()) for name, cost in description["costs"].items()]
    if description["latency"] is not None:
        rows.append(("latency, predicted", f"{description['latency']['predicted_ms']:.4g} ms"))
    rows += [
        ("accuracy, supernet's weights", _percent(results["supernet_accuracy"], validation)),
        ("accuracy, supernet's weights", _percent(results["supernet_test_accuracy"], test)),
        ("accuracy, retrained", _percent(results["retrained_accuracy"], test, missing="not retrained")),
    ]
    rows += [(f"`{name}`", f"{size:,} bytes") for name, size in sizes.items()]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    mine = "retrained" if description["weights"] == "retrained" else "supernet's weights"
    told = f"These weights are those of the rows *{mine}*, measured before the export; the test images chose nothing."
    return f"| | |\n|---|---|\n{table}\n\n{told}{_about_costs(description)}"


def _about_costs(description: Mapping[str, Any]) -> str:
    own = [f"`{name}`" for name in description["costs"] if name not in ("params", "flops")]
    told = f" {', '.join(own)}: the sum over the blocks in the search's own table, no measurement." if own else ""
    latency = description["latency"]
    if latency is None:
        return f"{told} How fast it is on a device is not known here: measure it there."
    threads = "" if latency["threads"] is None else f", {latency['threads']} threads"
    return (
        f"{told} The latency is the sum of its blocks as measured on {latency['device']}{threads}, for a batch of "
        f"{latency['batch_size']} in {latency['precision']}, in PyTorch; other runtimes differ."
    )


def _contract(description: Mapping[str, Any], with_onnx: bool) -> str:
    taken, given = description["input"], description["output"]
    programs = f"`{PT2_FILE}` and `{ONNX_FILE}`" if with_onnx else f"`{PT2_FILE}`"
    shape, logits = _shape(taken["shape"]), _shape(given["shape"])
    return (
        f"{programs}: **`{taken['name']}`**, {taken['dtype']}, {shape} ({taken['axes']}; {taken['channels']}), 0..255 "
        f"as decoded, any number of images, to **`{given['name']}`**, {given['dtype']}, {logits}; softmax gives "
        "probabilities. The normalisation is inside, so no mean and no scale has to be known; float images are "
        f"refused. In float32, for the CPU, batch normalisation fixed.\n\n`{WEIGHTS_FILE}` are the weights of the "
        "network after the normalisation `(pixels / 255 - mean) / std`, with "
        f"mean {_numbers(taken['mean'])} and std {_numbers(taken['std'])}.\n\n"
        f"{_classes(description['classes'])}"
    )


def _classes(names: Sequence[str]) -> str:
    if list(names) == [str(number) for number in range(len(names))]:
        return "Logit i stands for the class named i."
    shown = ", ".join(f"{number} = {name}" for number, name in enumerate(names[:_CLASSES_SHOWN]))
    more = ", and so on" if len(names) > _CLASSES_SHOWN else ""
    return f"Logits: {shown}{more}; all in `classes` of `{ARCHITECTURE_FILE}`."


def _loading(description: Mapping[str, Any], with_onnx: bool) -> str:
    channels, height, width = description["input"]["shape"][1:]
    mode = "L" if channels == 1 else "RGB"
    bleed = (1 - description["input"]["share_of_shorter_side"]) / 2
    read = _READ.format(mode=mode, width=width, height=height, channels=channels, bleed=bleed)
    parts = ["Nothing here needs multinas-ray. An image:", _code(read)]
    parts += [f"`{PT2_FILE}`, with PyTorch:", _code(_PT2)]
    if with_onnx:
        parts += [f"`{ONNX_FILE}` (operator set {OPSET}), with ONNX Runtime:", _code(_ONNX)]
    own = own_block_types(description)
    if own:
        parts.append(
            f"`{WEIGHTS_FILE}`: the blocks of the types {', '.join(own)} are of the searcher's own code, which must be "
            f"imported. With it and multinas-ray:\n\n{_code(_WITH_PACKAGE)}"
        )
    else:
        parts += [
            f"`{WEIGHTS_FILE}`, for training on or for another framework: the layers in `{ARCHITECTURE_FILE}` as "
            "plain PyTorch modules.",
            _code(_REBUILD),
            "Or with multinas-ray:",
            _code(_WITH_PACKAGE),
        ]
    return "\n\n".join(parts)


def _parity(parities: Sequence[FileParity]) -> str:
    rows = "\n".join(
        f"| `{parity.file}` | {parity.runtime} | {parity.max_abs_difference:.2g} | {parity.top1_agreement:.2%} |"
        for parity in parities
    )
    sizes = ", ".join(parities[0].difference_by_batch_size)
    return (
        f"Validation images in batches of {sizes}, against the network as it was trained; the export fails above "
        f"{TOLERANCE:g}. More in `parity.json`.\n\n| file | run by | largest difference of a logit | same top class |\n"
        f"|---|---|---|---|\n{rows}"
    )


def _images(description: Mapping[str, Any]) -> str:
    data = description["data"]
    number = data["num_images"]
    size = "" if data["image_size"] is None else f" Scaled to {data['image_size']} pixels."
    skipped = data["num_skipped_files"]
    left_out = f" {skipped:,} files could not be decoded and are in none of them." if skipped else ""
    return (
        f"Source: {_SOURCES.get(data['source'], data['source'])}.{size} {number['train']:,} training, "
        f"{number['validation']:,} validation and {number['test']:,} test images; the validation images judged "
        f"architectures, the test images came at the end.{left_out} Settings: {_settings(data)}."
    )


def _training(description: Mapping[str, Any]) -> str:
    told = [f"Supernet: {_settings(description['supernet_training'])}, seed {description['run']['seed']}."]
    if description["weights"] == "retrained":
        epochs = description["results"]["retrained_epochs"]
        recipe = "its recipe is not recorded" if description["retraining"] is None else None
        told.append(f"This network: {epochs} epochs; {recipe or _settings(description['retraining'])}.")
    searched = description["versions"]["search"]
    told.append("Versions: " + ", ".join(f"{name} {number}" for name, number in searched.items()) + ".")
    return "\n\n".join(told)


def _architecture(description: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {block} |" for name, block in description["blocks"].items())
    return f"| position | block |\n|---|---|\n{rows}\n\nLayer by layer in `{ARCHITECTURE_FILE}`."


def _limits(description: Mapping[str, Any]) -> str:
    height, width = description["input"]["shape"][2:]
    lines = [
        f"Images of {height}x{width} pixels only; another size is refused, so scale them as above.",
        "It knows the classes above and gives one of them to any image; nothing tells that an image is of none.",
        "The accuracy holds for images like the training images; it was measured once, by one seed.",
        f"`{PT2_FILE}` needs a PyTorch no older than the one that wrote it "
        f"({description['versions']['export']['torch']}) to be sure to load, and is for the CPU as it is.",
        "The licence and the biases are those of the images it was trained on.",
    ]
    if description["weights"] != "retrained":
        lines.insert(0, "Weights of the supernet: retrain it before it is used in earnest.")
    return "\n".join(f"- {line}" for line in lines)


def _code(text: str) -> str:
    return f"```python\n{text.strip()}\n```"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _percent(value: float | None, of: str, missing: str = "not measured") -> str:
    return missing if value is None else f"{value:.2%} {of}"


def _shape(axes: Sequence[str | int]) -> str:
    return "(" + ", ".join(map(str, axes)) + ")"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in values) + "]"


def _settings(settings: Mapping[str, Any]) -> str:
    """Settings in one line; those left unset say nothing."""
    told = {name: value for name, value in settings.items() if value is not None and not name.startswith("num_")}
    return ", ".join(f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in told.items())
