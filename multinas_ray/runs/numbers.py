"""Numbers as text for readers."""

from multinas_ray.settings import checked_arguments


@checked_arguments
def format_count(value: float) -> str:
    """A count with a unit prefix, such as 12.3 k or 4.56 M."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.4g}"


@checked_arguments
def gigabytes(number: float) -> str:
    """A number of bytes in MB or GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
