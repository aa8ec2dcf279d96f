from multinas_ray.data import ResizedCrop, open_stream

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def stream(images, **changes):
    """A shuffled stream of batches of 8 that are cropped at random."""
    settings = {
        "batch_size": 8,
        "seed": 3,
        "shuffle": True,
        "augment": ResizedCrop(),
        "mean": MEAN,
        "std": STD,
        "device": "cpu",
        "norm_batch_size": 2,
    }
    return open_stream(images, **{**settings, **changes})
