"""Making photos smaller once, before many trainings read them."""

from __future__ import annotations

import io

from PIL import Image

from multinas_ray.data.decoding import DECODE_ERRORS, GREY_MODES, decode
from multinas_ray.errors import DataError

JPEG_QUALITY = 95
"""Of images that were made smaller. [ours]"""


def made_smaller(content: bytes, side: int) -> bytes:
    """An encoded image whose shorter side is `side`, as a JPEG; the same bytes if that is no longer than `side`.

    It keeps its EXIF data, and so its turn. What cannot be decoded is left as it is, so that who reads it tells it.

    Args:
        content: the encoded image.
        side: wanted length of the shorter side, in pixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if min(width, height) <= side:
                return content
            scale = side / min(width, height)
            size = (max(side, round(width * scale)), max(side, round(height * scale)))
            image.draft(None, (2 * size[0], 2 * size[1]))  # a JPEG at a half, quarter or eighth, if that is enough
            exif, channels = image.info.get("exif", b""), 1 if image.mode in GREY_MODES else 3
            decoded = decode(image, channels, "the image", exif_rotation=False)
        smaller = decoded.resize(size, Image.Resampling.BICUBIC)
        written = io.BytesIO()
        smaller.save(written, "JPEG", quality=JPEG_QUALITY, exif=exif)
    except (DataError, *DECODE_ERRORS):
        return content
    return written.getvalue()
