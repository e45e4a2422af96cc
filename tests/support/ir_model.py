"""The bundled model as a folder of OpenVINO IR."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.openvino_process import bundled_model


def ir_folder(path: Path, gguf: Path | None = None) -> Path:
    """Make the folder ``path`` from the bundled model, or from ``gguf``; it must not exist yet. Some 6 s.

    In a process of its own, since OpenVINO keeps what it took.
    """
    models = (str(gguf or bundled_model()), str(path))
    subprocess.run([sys.executable, "-m", "hubbub.engines.openvino_server.ir_export", *models], check=True)
    return path
