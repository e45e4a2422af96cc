"""Where what was measured on this machine is kept."""

from __future__ import annotations

from pathlib import Path


def calibration_folder() -> Path:
    """Calibrations, and the best the CPU ever showed. It may not be there yet."""
    return Path.home() / ".local" / "share" / "hubbub" / "calibrations"
