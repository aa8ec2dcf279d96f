"""Encoded images that count how often one is read, in whatever process."""

import os
from pathlib import Path


class CountedImages:
    """The same images; each reading adds a byte to a file, which all processes share."""

    def __init__(self, images, file):
        self._images, self._file = images, file

    def __len__(self):
        return len(self._images)

    @property
    def labels(self):
        return self._images.labels

    @property
    def groups(self):
        return self._images.groups

    def name(self, index):
        return self._images.name(index)

    def read(self, index):
        with Path(self._file).open("ab", buffering=0) as file:
            file.write(b"x")
        return self._images.read(index)

    def select(self, index):
        return CountedImages(self._images.select(index), self._file)

    def join(self, other):
        return CountedImages(self._images.join(other._images), self._file)


def read_since(file):
    """How many have been read since the last call."""
    count = Path(file).stat().st_size
    os.truncate(file, 0)
    return count
