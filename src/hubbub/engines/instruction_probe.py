"""Which vector instructions this processor really runs: each tried in a process of its own, that may die of it.

A virtual machine may announce instructions that its host does not let it run (seen with AMX): what is compiled for the
announced ones (``-march=native``, ``GGML_NATIVE``) then ends with SIGILL.
"""

from __future__ import annotations

import platform
import subprocess
import sys

_TRY = """
import ctypes, mmap, sys
code = bytes.fromhex(sys.argv[1])
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
tiles = (ctypes.c_ubyte * 64)(1)
for tile in range(3):
    tiles[16 + 2 * tile], tiles[48 + tile] = 64, 16
ctypes.CDLL(None).syscall(158, 0x1023, 18)  # arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(tiles))
"""
_RETURN = "c5f877c3"
"""vzeroupper; ret."""
_TILES = "c4e2784907 c4e27b49c0 c4e27b49c8 c4e27b49d0"
"""ldtilecfg [rdi]; tilezero of tmm0, tmm1, tmm2."""
INSTRUCTIONS = {
    "avx2": "c5fdefc0",  # vpxor ymm0, ymm0, ymm0
    "avx512": "62f1fd48efc0",  # vpxorq zmm0, zmm0, zmm0
    "avx512_vbmi": "62f27d488dc0",  # vpermb zmm0, zmm0, zmm0
    "avx512_vnni": "62f27d4850c0",  # vpdpbusd zmm0, zmm0, zmm0
    "avx512_bf16": "62f27e4852c0",  # vdpbf16ps zmm0, zmm0, zmm0
    "amx_int8": f"{_TILES} c4e26b5ec1 c4e27849c0",  # tdpbssd tmm0, tmm1, tmm2; tilerelease
    "amx_bf16": f"{_TILES} c4e26a5cc1 c4e27849c0",  # tdpbf16ps tmm0, tmm1, tmm2; tilerelease
}
TRY_S = 10.0


def runs(instruction: str) -> bool:
    """Of INSTRUCTIONS. False on other processors and systems than x86-64 Linux."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return False
    return survives(INSTRUCTIONS[instruction].replace(" ", "") + _RETURN)


def survives(code: str) -> bool:
    """Whether a process comes back from machine code (hexadecimal)."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _TRY, code], timeout=TRY_S, capture_output=True, check=False
    )
    return done.returncode == 0
