"""Writes a tree of image files as Parquet files, to be read from a disk or an object store.

  python experiments/write_shards.py /data/imagenet s3://bucket/imagenet --resize 256

The tree has train/<class>/* and val/<class>/*, or <class>/* alone. Its images are copied, in a mixed order within each
split, unchanged or with --resize smaller, which makes them faster to read. A search reads them by
DataConfig(source="folder", path="s3://bucket/imagenet", in_memory=False).
"""

import argparse

from multinas_ray.errors import MultiNASError


def main(argv: list[str] | None = None) -> int:
    """Write the shards; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", help="the tree of image files")
    parser.add_argument("destination", metavar="URI", help="folder for the Parquet files: a path, s3://... or gs://...")
    parser.add_argument("--images-per-file", metavar="N", type=int, default=8192, help="(default: %(default)s)")
    text = "images that are read in one piece (default: %(default)s)"
    parser.add_argument("--images-per-group", metavar="N", type=int, default=64, help=text)
    text = "make larger images smaller, to this length of the shorter side (default: all are copied unchanged)"
    parser.add_argument("--resize", metavar="PIXELS", type=int, help=text)
    arguments = parser.parse_args(argv)
    from rich.console import Console

    from multinas_ray.data import write_image_shards

    console = Console()
    try:
        total = write_image_shards(
            arguments.folder,
            arguments.destination,
            images_per_file=arguments.images_per_file,
            images_per_group=arguments.images_per_group,
            resize=arguments.resize,
        )
    except MultiNASError as error:
        console.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
        return 2
    console.print(f"{total} images written to {arguments.destination.split('?')[0]}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
