"""Where what was measured on this machine is kept."""

from __future__ import annotations

from pathlib import Path

from hubbub.user_path import home


def calibration_folder() -> Path:
    """Calibrations, and the best the CPU ever showed. It may not be there yet."""
    return home() / ".local" / "share" / "hubbub" / "calibrations"
