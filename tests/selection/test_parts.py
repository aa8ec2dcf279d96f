import pytest

from multinas_ray.selection import Rung
from multinas_ray.selection.evaluation import IMAGES_OF_PART, SHARED_PART, part_size


def rung(images: int, recalibration: int = 0) -> Rung:
    return Rung(number=1, size=10, images=images, recalibration_images=recalibration)


@pytest.mark.parametrize(
    ("images", "recalibration", "networks", "actors", "size"),
    [
        (256, 0, 300, 1, SHARED_PART),
        (256, 0, 40, 8, 5),
        (256, 0, 3, 8, 1),
        (50_000, 20_000, 100, 4, IMAGES_OF_PART // 70_000),
        (IMAGES_OF_PART, IMAGES_OF_PART, 100, 1, 1),
    ],
)
def test_all_actors_have_work_and_no_part_is_long(images, recalibration, networks, actors, size) -> None:
    assert part_size(rung(images, recalibration), networks, actors) == size
