from .config import ExportConfig
from .exporting import export_networks

__all__ = [
    "ExportConfig",
    "export_networks",
]
