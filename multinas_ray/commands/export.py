"""`export`: the chosen networks as files that run without this package."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_label, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    parser = commands.add_parser(
        "export",
        help="write the networks as .pt2, ONNX and safetensors, with a parity check and a model card",
        description="Write a folder for each network: model.pt2 (torch.export), model.onnx, weights.safetensors, "
        "architecture.json, parity.json and README.md, a model card that says how to load each file without "
        "multinas-ray. The programs take uint8 pixels, any number of images, and hold the normalisation. Each is "
        "compared with the network on validation images; above a difference of 1e-4 in a logit nothing is written.",
        epilog="example: multinas-ray export runs/quickstart --output exported",
    )
    add_run(parser)
    add_label(parser)
    parser.add_argument(
        "--networks",
        metavar="N",
        type=int,
        nargs="+",
        help="only these networks, by their number in the table; 0 is the smallest (default: all)",
    )
    parser.add_argument(
        "--weights",
        choices=("auto", "retrained", "supernet"),
        default="auto",
        help="retrained weights, those the network has from the supernet, or retrained ones where there are any "
        "(auto, the default)",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="write DIR/<network>/ (default: networks/<network>/export/ beside the weights)"
    )
    parser.add_argument("--skip-onnx", action="store_true", help="write no ONNX files; needs no onnx packages then")
    parser.add_argument(
        "--latency-table",
        metavar="FILE",
        help="latencies measured by `multinas-ray profile`: the card tells the network's predicted latency there",
    )
    add_build_arguments(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    from multinas_ray.export import export_networks

    export_networks(
        arguments.run,
        label=arguments.label,
        networks=arguments.networks,
        weights=arguments.weights,
        output=arguments.output,
        onnx=not arguments.skip_onnx,
        latency_table=arguments.latency_table,
        data_path=arguments.data,
        imports=arguments.imports,
    )
    return 0
