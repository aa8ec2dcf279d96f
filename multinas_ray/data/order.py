"""The order of an epoch: the place of each image in the batches, the same for any number of ranks and processes."""

# n images, B images of the global batch, G normalisation groups of a batch

import numpy as np
import numpy.typing as npt

MOST_STRANDS = 8
"""Up to so many decoding processes of a rank can each read their own pieces, if their number divides it [ours]."""
_LEAST_STEPS = 50  # of a strand: less than 1 batch in 50 is lost by cutting an epoch into strands
_WINDOW = 256  # images of neighbouring pieces that are mixed in a strand [ours]


def batches_per_epoch(num_images: int, batch_size: int, groups: npt.NDArray[np.int64] | None) -> int:
    """Number of batches that `epoch_order` returns."""
    strands = 1 if groups is None else num_strands(num_images, batch_size)
    return num_images // (strands * batch_size) * strands


def num_strands(num_images: int, batch_size: int) -> int:
    """Number of strands into which an epoch of images in pieces is cut; batch b is of strand b modulo this number."""
    return max(1, min(MOST_STRANDS, num_images // (_LEAST_STEPS * batch_size)))


def epoch_order(
    groups: npt.NDArray[np.int64] | None,
    num_images: int,
    *,
    batch_size: int,
    norm_batch_size: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Shuffle an epoch.

    Images that are read one by one come in the order of a permutation. Images that are read in pieces (`groups`) come
    from neighbouring pieces: the pieces are permuted and cut into equal parts, one for each normalisation group and
    strand, and images are mixed within a part. A rank has whole normalisation groups, so it reads only pieces of its
    own, and so does each of its processes, while the batches do not depend on the numbers of either [ours].

    Args:
        groups: (n,) the piece of each image, or None.
        num_images: n.
        batch_size: B, images of the global batch.
        norm_batch_size: Images of a normalisation group; divides B.
        rng: Generator of the order.

    Returns:
        (batches, B) images; no image occurs twice, and fewer than MOST_STRANDS * B are left out.
    """
    count = batches_per_epoch(num_images, batch_size, groups)
    if groups is None:
        return rng.permutation(num_images)[: count * batch_size].reshape(count, batch_size)
    strands, lanes = num_strands(num_images, batch_size), batch_size // norm_batch_size
    steps = count // strands
    place = rng.permutation(int(groups.max()) + 1)[groups]
    by_piece = np.lexsort((rng.random(num_images), place))
    part = num_images // (strands * lanes)
    parts = by_piece[: strands * lanes * part].reshape(strands, lanes, part)
    window = np.arange(part) // _WINDOW
    parts = np.take_along_axis(parts, np.argsort(window + rng.random(parts.shape), axis=2), axis=2)
    batches = parts[:, :, : steps * norm_batch_size].reshape(strands, lanes, steps, norm_batch_size)
    return batches.transpose(2, 0, 1, 3).reshape(count, batch_size)
