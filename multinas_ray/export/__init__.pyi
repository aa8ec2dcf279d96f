from .exporting import export_networks

__all__ = [
    "export_networks",
]
