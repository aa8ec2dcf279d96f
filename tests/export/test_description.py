import pytest

from multinas_ray.export.description import own_block_types
from multinas_ray.spaces import BlockDescription, Head, elastic_blocks, mbconv, skip


@pytest.mark.parametrize("block", [skip(), *elastic_blocks([mbconv(4, 4, 3, 2), mbconv(4, 4, 3, 4)])])
def test_blocks_of_the_package_are_not_the_users_own(block: BlockDescription) -> None:
    network = {"stem": {"type": "Mine"}, "blocks": [block.to_dict(), {"type": "Another"}], "head": Head(4, 2).to_dict()}
    assert own_block_types({"network": network}) == ["Another", "Mine"]
