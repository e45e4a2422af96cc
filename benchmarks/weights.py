"""The weights of a GGUF in other forms, for ``engine_settings``: as OpenVINO IR, and as IR of 8 and of 16 bits.

    python -m benchmarks.weights FORM MODEL.gguf FOLDER

``ir``: quantized as the GGUF is. ``groups8``: 8 bits with a scale for each 32 weights (GGUF's Q8_0). ``channels8``: 8
bits with a scale and a zero point a channel, as ``optimum-cli export openvino --weight-format int8`` makes it; needs
``pip install nncf``. ``halves``: 16 bits, nearer to what is computed with where a processor cannot multiply 8 bits. All
are made from what the GGUF holds, so they are no more exact than it is.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from hubbub.engines.openvino_server.ir_export import export_ir

FORMS = {
    "ir": "IR, quantized as the GGUF",
    "groups8": "IR of 8 bits, by groups of 32",
    "channels8": "IR of 8 bits, by channel",
    "halves": "IR of 16 bits",
}


def missing(form: str) -> str:
    """Empty, or what has to be installed first."""
    return "needs nncf: pip install nncf" if form == "channels8" and importlib.util.find_spec("nncf") is None else ""


def convert(form: str, model: Path, folder: Path) -> None:
    if form == "ir":
        export_ir(model, folder)
        return
    kind = gguf.GGMLQuantizationType.Q8_0 if form == "groups8" else gguf.GGMLQuantizationType.F16
    with tempfile.TemporaryDirectory(prefix="hubbub-weights-") as scratch:
        other = Path(scratch) / "model.gguf"
        rewrite(model, other, kind)
        export_ir(other, folder)
    if form == "channels8":
        _compress(folder)


def rewrite(source: Path, target: Path, kind: gguf.GGMLQuantizationType) -> None:
    """The same model with its matrices as ``kind``; vectors stay f32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            below = field.types[-1] if field.types[0] is gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=below)
    for tensor in reader.tensors:
        values: np.ndarray[Any, Any] = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim < 2:
            writer.add_tensor(tensor.name, values.astype(np.float32))
        else:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _compress(folder: Path) -> None:
    import nncf
    import openvino

    model = openvino.Core().read_model(folder / "openvino_model.xml")
    packed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    # Written beside the old one, which is mapped into memory until then.
    openvino.save_model(packed, folder / "packed.xml")
    del model, packed
    for suffix in ("xml", "bin"):
        (folder / f"packed.{suffix}").rename(folder / f"openvino_model.{suffix}")


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
