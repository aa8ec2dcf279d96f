"""Building a network space from its plain description, as a run records it.

A block of your own needs one decorator for that:

    @register_block
    @dataclass(frozen=True)
    class MyBlock: ...                    # to_dict gives {"type": "MyBlock", <its fields>}
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from multinas_ray.errors import StateError
from multinas_ray.registry import Registry
from multinas_ray.spaces.blocks import Block, BlockDescription, Head
from multinas_ray.spaces.elastic import ElasticBlock
from multinas_ray.spaces.model import KIND, ModelSpace
from multinas_ray.spaces.network import NetworkSpace, Position
from multinas_ray.spaces.space import Space

BlockType = TypeVar("BlockType", bound=type)

_block_types: Registry[type] = Registry("block type")


def register_block(block_type: BlockType) -> BlockType:
    """Register a block type, so that a recorded space with such blocks can be built again.

    Args:
        block_type: a frozen dataclass whose `to_dict` gives its class's name as "type", and its fields. A block is
            rebuilt from the fields as keywords, or by the classmethod `from_dict(fields)` if there is one.

    Returns:
        The class, unchanged, so that this can be used as a decorator.

    Raises:
        ConfigError: Another class has the name already.
    """
    _block_types.add(block_type.__name__, block_type)
    return block_type


def block_from_dict(description: Mapping[str, Any]) -> BlockDescription:
    """The block that `to_dict` described.

    Raises:
        ConfigError: No block type of this name is registered.
        StateError: The description does not have the form of its type.
    """
    if not isinstance(description, Mapping):
        raise StateError(f"a block must be described by its type and fields, got {description!r}: restore a copy")
    fields = dict(description)
    name = fields.pop("type", "")
    block_type: Any = _block_types.find(name)
    try:
        block: BlockDescription = (
            block_type.from_dict(fields) if hasattr(block_type, "from_dict") else block_type(**fields)
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # fields of other forms, in blocks of any kind
        raise StateError(
            f"a block's description does not describe a {name} ({error}): use the version that recorded it"
        ) from error
    return block


def space_from_dict(description: Mapping[str, Any]) -> Space:
    """The space that `Space.to_dict` described.

    Raises:
        ConfigError: A block's type is not registered.
        StateError: The description does not have this form.
    """
    if isinstance(description, Mapping) and description.get("kind") == KIND:
        return ModelSpace.from_dict(description)
    try:
        return NetworkSpace(
            name=description["name"],
            input_shape=tuple(description["input_shape"]),
            stem=block_from_dict(description["stem"]),
            positions=tuple(
                Position(position["name"], tuple(block_from_dict(block) for block in position["blocks"]))
                for position in description["positions"]
            ),
            head=block_from_dict(description["head"]),
        )
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise StateError(f"this does not describe a network space ({error!r}): restore a copy") from error


register_block(Block)
register_block(ElasticBlock)
register_block(Head)
