"""Checks of settings that many steps share; a message starts with the name of the setting."""

from __future__ import annotations


def check_probability(name: str, value: float) -> None:
    """Raises ValueError outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value:g}")


def check_interval(low_name: str, low: float, high_name: str, high: float) -> None:
    """Raises ValueError for high < low."""
    if not low <= high:
        raise ValueError(f"{high_name} must be >= {low_name}, got {high:g} < {low:g}")


def check_at_least(name: str, value: float, minimum: float) -> None:
    """Raises ValueError below the minimum."""
    if not value >= minimum:
        raise ValueError(f"{name} must be >= {minimum:g}, got {value:g}")


def check_crop_range(low_name: str, high_name: str, values: tuple[float, float], *, maximum: float = float("inf")) -> None:
    """Raises ValueError unless 0 < low <= high <= maximum, as the sampling of crop windows needs it."""
    low, high = values
    if not low > 0.0:
        raise ValueError(f"{low_name} must be > 0, got {low:g}")
    check_interval(low_name, low, high_name, high)
    if high > maximum:
        raise ValueError(f"{high_name} must be <= {maximum:g}, got {high:g}")
