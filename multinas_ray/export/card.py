"""The model card of an exported network: what it is, how good it is, how to load it, and its limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from multinas_ray.export.description import own_block_types
from multinas_ray.export.formats import ONNX_FILE, OPSET, PT2_FILE, SAFETENSORS_FILE, TOLERANCE, FileParity
from multinas_ray.export.quantisation import INT8_FILE
from multinas_ray.export.sample_card import contract, is_of_samples, loading, maps, samples, summary
from multinas_ray.runs import PrimaryMetric, primary_metric

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

image = {opened}.convert("{mode}")
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
    "digits": "the 8x8 digits of scikit-learn, bright on black; their values 0..16 are multiplied by 255/16",
    "cifar10": "CIFAR-10, photos of 32x32 pixels",
    "folder": "a folder of images for each class; the shorter side is scaled and the central square cut out",
}


def model_card(description: Mapping[str, Any], sizes: Mapping[str, int], parities: Sequence[FileParity]) -> str:
    """Write the model card of a network as Markdown.

    Args:
        description: the result of `describe_network`.
        sizes: the size of each file in bytes, by its name.
        parities: the differences of the programs from the network.
    """
    programs = [name for name in (PT2_FILE, ONNX_FILE) if name in sizes]
    front = "" if is_of_samples(description) else _FRONT
    parts = [
        front + f"# {description['name']}",
        _summary(description),
        "## Figures\n\n" + _figures(description, sizes),
        "## Input and output\n\n" + _contract(description, programs),
        "## How to load it\n\n" + _loading(description, programs),
        "## Parity\n\n" + _parity(parities, samples_of(description)),
        f"## {samples_of(description).capitalize()}\n\n" + _images(description),
        "## Training\n\n" + _training(description),
        "## Architecture\n\n" + _architecture(description),
        "## Limits\n\n" + _limits(description, programs),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _summary(description: Mapping[str, Any]) -> str:
    about = summary(description) if is_of_samples(description) else _about_images(description)
    return (
        f"{about}is network {description['run']['network']} of a search over the space "
        f"`{description['space']['name']}`, exported by multinas-ray "
        f"{description['versions']['export']['multinas-ray']}. {_told_weights(description)}"
    )


def _about_images(description: Mapping[str, Any]) -> str:
    channels, height, width = description["input"]["shape"][1:]
    return (
        f"This network classifies images of {channels}x{height}x{width} into {len(description['classes'])} classes. It "
    )


def _told_weights(description: Mapping[str, Any]) -> str:
    if description["weights"] == "retrained":
        return "Its weights were trained for this network alone after the search."
    return (
        "**Its weights are the supernet's.** They were shared with other networks during the search; only the "
        "batch-normalisation statistics are its own. Retrained weights are usually better."
    )


def _figures(description: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    results, number = description["results"], description["data"]["num_images"]
    what = samples_of(description)
    validation, test = f"of {number['validation']:,} validation {what}", f"of {number['test']:,} test {what}"
    metric = primary_metric(description)
    rows = [(name, f"{_amount(cost['value'])} {cost['unit']}".strip()) for name, cost in description["costs"].items()]
    if description["latency"] is not None:
        rows.append(("latency, predicted", f"{description['latency']['predicted_ms']:.4g} ms"))
    rows += [
        (f"{metric.name}, supernet's weights", _of(metric, results["supernet_accuracy"], validation)),
        (f"{metric.name}, supernet's weights", _of(metric, results["supernet_test_accuracy"], test)),
        (f"{metric.name}, retrained", _of(metric, results["retrained_accuracy"], test, missing="not retrained")),
    ]
    rows += [(f"`{name}`", f"{size:,} bytes") for name, size in sizes.items()]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    mine = "retrained" if description["weights"] == "retrained" else "supernet's weights"
    told = (
        f"The exported weights are those of the rows *{mine}*, whose {metric.name} was measured before the export. The "
        f"test {what} were not used for any choice."
    )
    return f"| | |\n|---|---|\n{table}\n\n{told}{_about_costs(description)}"


def _about_costs(description: Mapping[str, Any]) -> str:
    own = [f"`{name}`" for name in description["costs"] if name not in ("params", "flops")]
    parts = "modules" if "model" in description["network"] else "blocks"
    told = f" {', '.join(own)}: computed from the {parts} as in the search, not measured." if own else ""
    latency = description["latency"]
    if latency is None:
        return f"{told} The latency on a device is not known: measure it there."
    runtime = "" if latency["runtime"] is None else f" by {latency['runtime']}"
    threads = "" if latency["threads"] is None else f", {latency['threads']} threads"
    return (
        f"{told} The latency is the sum of its {parts}, which were measured on {latency['device']}{threads}{runtime}, "
        f"for a batch of {latency['batch_size']} in {latency['precision']}. Other runtimes differ."
    )


def _contract(description: Mapping[str, Any], programs: Sequence[str]) -> str:
    if is_of_samples(description):
        return contract(description, programs)
    taken, given = description["input"], description["output"]
    shape, logits = _shape(taken["shape"]), _shape(given["shape"])
    about = (
        "The programs include the normalisation, so you need not know mean and scale, and they refuse float images. "
        "They compute in float32 on the CPU, with fixed batch normalisation."
        if programs
        else "The normalisation comes first."
    )
    return (
        f"{maps(programs)} **`{taken['name']}`**, {taken['dtype']} of shape {shape} ({taken['axes']}; "
        f"{taken['channels']}), to **`{given['name']}`**, {given['dtype']} of shape {logits}. The pixels are 0..255 as "
        f"decoded, of any number of images; a softmax of the logits gives probabilities. {about}"
        f"\n\n`{SAFETENSORS_FILE}` holds the weights of the network without the normalisation, which is "
        f"`(pixels / 255 - mean) / std` with mean {_numbers(taken['mean'])} and std {_numbers(taken['std'])}.\n\n"
        f"{_classes(description['classes'])}"
    )


def _classes(names: Sequence[str]) -> str:
    if list(names) == [str(number) for number in range(len(names))]:
        return "Logit i belongs to the class named i."
    shown = ", ".join(f"{number} = {name}" for number, name in enumerate(names[:_CLASSES_SHOWN]))
    more = ", and so on" if len(names) > _CLASSES_SHOWN else ""
    return f"The logits belong to {shown}{more}; `classes` in `{ARCHITECTURE_FILE}` has all of them."


def _loading(description: Mapping[str, Any], programs: Sequence[str]) -> str:
    own = own_block_types(description)
    parts = loading(description, programs) if is_of_samples(description) else _loading_images(description, programs)
    if own:
        what = "the model" if "model" in description["network"] else "the block types"
        parts.append(
            f"`{SAFETENSORS_FILE}` needs the code of {what} {', '.join(own)}, which is not part of "
            f"multinas-ray. With that code imported, and with multinas-ray:\n\n{_code(_WITH_PACKAGE)}"
        )
    else:
        parts += [
            f"To train on from `{SAFETENSORS_FILE}`, or to move to another framework, build the layers that "
            f"`{ARCHITECTURE_FILE}` lists as plain PyTorch modules:",
            _code(_REBUILD),
            "Or with multinas-ray:",
            _code(_WITH_PACKAGE),
        ]
    return "\n\n".join(parts)


def _loading_images(description: Mapping[str, Any], programs: Sequence[str]) -> list[str]:
    channels, height, width = description["input"]["shape"][1:]
    mode = "L" if channels == 1 else "RGB"
    bleed = (1 - description["input"]["share_of_shorter_side"]) / 2
    opened = 'Image.open("photo.png")'
    if description["data"].get("exif_rotation"):
        opened = f"ImageOps.exif_transpose({opened})"
    read = _READ.format(opened=opened, mode=mode, width=width, height=height, channels=channels, bleed=bleed)
    parts = ["Nothing here needs multinas-ray, unless it says so. To read an image:", _code(read)]
    if PT2_FILE in programs:
        parts += [f"To run `{PT2_FILE}` with PyTorch:", _code(_PT2)]
    if ONNX_FILE in programs:
        parts += [f"To run `{ONNX_FILE}` (operator set {OPSET}) with ONNX Runtime:", _code(_ONNX)]
    return parts


def samples_of(description: Mapping[str, Any]) -> str:
    """What the network takes, in the plural: images, or other samples."""
    return "samples" if is_of_samples(description) else "images"


def _parity(parities: Sequence[FileParity], samples: str) -> str:
    if not parities:
        return "There is no program that could be compared with the network."
    rows = "\n".join(
        f"| `{parity.file}` | {parity.runtime} | {parity.max_abs_difference:.2g} | {_share(parity.top1_agreement)} "
        f"| {_share(parity.test_accuracy)} |"
        for parity in parities
    )
    sizes = ", ".join(parities[0].difference_by_batch_size)
    has_int8 = any(parity.file == INT8_FILE for parity in parities)
    quantised = f", except for `{INT8_FILE}`, whose weights and activations are 8-bit numbers" if has_int8 else ""
    return (
        f"The files were compared with the network on validation {samples} in batches of {sizes}. A difference above "
        f"{TOLERANCE:g} makes the export fail{quantised}. `parity.json` has the details.\n\n| file | runtime | largest "
        f"difference of an output | same top class | right on test {samples} |\n|---|---|---|---|---|\n{rows}"
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _images(description: Mapping[str, Any]) -> str:
    if is_of_samples(description):
        return samples(description)
    data = description["data"]
    number = data["num_images"]
    size = "" if data["image_size"] is None else f" The images are scaled to {data['image_size']} pixels."
    counts = "; ".join(f"{count:,} {reason}" for reason, count in data["num_left_out"].items() if count)
    left_out = f" Files that were left out: {counts}." if counts else ""
    return (
        f"The images are {_SOURCES.get(data['source'], data['source'])}.{size} There are {number['train']:,} training, "
        f"{number['validation']:,} validation and {number['test']:,} test images. The validation images were used to "
        f"compare architectures, the test images only at the end.{left_out} Settings: {_settings(data)}."
    )


def _training(description: Mapping[str, Any]) -> str:
    told = [
        f"The supernet was trained with {_settings(description['supernet_training'])}, seed "
        f"{description['run']['seed']}."
    ]
    if description["weights"] == "retrained":
        epochs = description["results"]["retrained_epochs"]
        recipe = "the recipe is not recorded" if description["retraining"] is None else None
        told.append(f"This network was trained for {epochs} epochs: {recipe or _settings(description['retraining'])}.")
    searched = description["versions"]["search"]
    told.append("Versions: " + ", ".join(f"{name} {number}" for name, number in searched.items()) + ".")
    return "\n\n".join(told)


def _architecture(description: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {block} |" for name, block in description["blocks"].items())
    if "model" in description["network"]:
        return f"| choice | option |\n|---|---|\n{rows}\n\n`{ARCHITECTURE_FILE}` has the arguments of the model too."
    return f"| position | block |\n|---|---|\n{rows}\n\n`{ARCHITECTURE_FILE}` lists all layers."


def _limits(description: Mapping[str, Any], programs: Sequence[str]) -> str:
    lines = [*_limits_of_images(description)] if not is_of_samples(description) else []
    lines += [
        f"The {primary_metric(description).name} holds for data like the training data. It was measured once, with one "
        "seed.",
        "The licence and the biases are those of the data on which it was trained.",
    ]
    if PT2_FILE in programs:
        lines.insert(
            -1,
            f"`{PT2_FILE}` loads for certain only in a PyTorch that is not older than the one that wrote it "
            f"({description['versions']['export']['torch']}), and runs on the CPU.",
        )
    if description["weights"] != "retrained":
        lines.insert(0, "It has the weights of the supernet: retrain it before you use it.")
    return "\n".join(f"- {line}" for line in lines)


def _limits_of_images(description: Mapping[str, Any]) -> list[str]:
    height, width = description["input"]["shape"][2:]
    return [
        f"It takes images of {height}x{width} pixels only; scale other images as shown above.",
        "It assigns one of the classes above to every image, even to one that belongs to none of them.",
    ]


def _code(text: str) -> str:
    return f"```python\n{text.strip()}\n```"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _of(metric: PrimaryMetric, value: float | None, of: str, missing: str = "not measured") -> str:
    return missing if value is None else f"{metric.text(value)} {of}"


def _shape(axes: Sequence[str | int]) -> str:
    return "(" + ", ".join(map(str, axes)) + ")"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in values) + "]"


def _settings(settings: Mapping[str, Any]) -> str:
    """Settings in one line, without those that are not set."""
    told = {name: value for name, value in settings.items() if value is not None and not name.startswith("num_")}
    return ", ".join(f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in told.items())
