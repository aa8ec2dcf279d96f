"""`export`: the chosen networks as files that run without this package."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_label, add_networks, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "export",
        fill=_add_flags,
        command=run,
        help="write the networks as .pt2, ONNX and safetensors files, with a parity check and a model card",
        description="Write a folder for each network: model.pt2 (torch.export), model.onnx, weights.safetensors, "
        "architecture.json, parity.json, SHA256SUMS and README.md, which is a model card that says how to load each "
        "file without multinas-ray. The programs take uint8 pixels of any number of images and include the "
        "normalisation. Each is compared with the network on validation images; if an output differs by more than "
        "1e-4, nothing is written. A format that cannot hold a network is left out, with a line that says why.",
        epilog="example: multinas-ray export runs/quickstart --output exported",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.export import ExportConfig

    add_run(parser)
    add_label(parser)
    add_networks(parser)
    add_build_arguments(parser)
    add_settings(parser, {"what is written": ExportConfig})


def run(arguments: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    from multinas_ray.commands.flags import read_settings
    from multinas_ray.export import ExportConfig, export_networks

    export_networks(
        arguments.run,
        read_settings(arguments, ExportConfig),
        label=arguments.label,
        networks=arguments.networks,
        data_path=arguments.data,
        imports=arguments.imports,
    )
    return 0
