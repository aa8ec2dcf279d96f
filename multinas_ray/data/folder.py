"""The user's own images: a tree of files with a folder for each class, or Parquet shards made from one."""

from dataclasses import dataclass
from typing import ClassVar

from multinas_ray.data.encoded_source import EncodedSource
from multinas_ray.data.listing import ImageListing
from multinas_ray.data.shards import scan_images
from multinas_ray.data.sources import register_source
from multinas_ray.settings import checked


@register_source
@checked
@dataclass(frozen=True, kw_only=True)
class FolderSource(EncodedSource):
    """A tree of image files (see `tree.scan_tree`), or the shards that `write_image_shards` made from one."""

    kind: ClassVar[str] = "folder"

    def listing(self) -> ImageListing:
        """List the files, or the rows of the shards' index."""
        return scan_images(self.path)
