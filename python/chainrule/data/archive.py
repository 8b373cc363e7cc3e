"""Reads the arrays of an npz file (a zip of npy files) and trusts nothing in it.

`numpy.load` allocates what a header claims before it looks at what is there, and need not reach the end of a
member, where the zip's checksum is compared; here both are checked. Pickles are never read. What the
arrays mean is left to the caller.
"""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from .checks import one_line, read_at_most
from .dataset import DataError

# What zipfile raises, in one case or another, for bytes that are no sound zip.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    OSError,
    ValueError,
)
# What NumPy raises, besides ValueError, for the text of a header that it cannot parse.
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    UserWarning,
)


def read_npz(
    stream: BinaryIO, where: str, names: Iterable[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of all arrays in the npz file, and those of the arrays `names` that it has.

    Arrays are writable, of the byte order and memory order that the file has, of boolean, integer, floating,
    complex or string dtype. Raises `DataError`, beginning with `where`, for anything else.
    """
    try:
        first = stream.read(6)
        with zipfile.ZipFile(stream) as archive:
            members = {
                info.filename[:-4]: info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            arrays = {
                name: _read_member(archive, members[name], f"{where}: {name}")
                for name in names
                if name in members
            }
    except DataError:
        raise
    except _ZIP_ERRORS as error:
        raise DataError(f"{where}: {_what_is_wrong(first, error)}") from None
    except MemoryError:
        raise DataError(f"{where}: its arrays do not fit into memory: store fewer images") from None
    return list(members), arrays


def _what_is_wrong(first: bytes, error: Exception) -> str:
    if first == b"\x93NUMPY":
        return "a single npy array, not an npz file: save with numpy.savez"
    if not first.startswith(b"PK"):
        return "not an npz (zip) file: save with numpy.savez"
    return f"truncated or damaged npz file ({one_line(error)}): make or fetch it again"


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{where}: encrypted or unusually compressed: save with numpy.savez")
    with archive.open(info) as stream:
        shape, fortran_order, dtype = _read_header(stream, where)  # type: ignore[arg-type]
        if dtype.hasobject:
            raise DataError(
                f"{where}: an object array (pickle) is not read: store numbers or strings"
            )
        if dtype.kind not in "biufcSU" or dtype.itemsize == 0 or dtype.shape:
            raise DataError(f"{where}: dtype {dtype} is not read: store numbers or strings")
        expected = math.prod(shape) * dtype.itemsize
        # One byte more than there should be: it shows trailing bytes, and reaching the end makes zipfile
        # compare the checksum.
        data = read_at_most(stream, expected + 1)  # type: ignore[arg-type]
    if len(data) != expected:
        there = "more" if len(data) > expected else str(len(data))
        raise DataError(
            f"{where}: header says {shape} {dtype}, {expected} bytes, {there} are there: "
            "make or fetch the file again"
        )
    return np.ndarray(shape, dtype, buffer=data, order="F" if fortran_order else "C")


def _read_header(stream: BinaryIO, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise DataError(f"{where}: npy version {version} is not read: save with numpy.savez")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns when it guesses at a header
            shape, fortran_order, dtype = readers[version](stream)
    except DataError:
        raise
    except zipfile.BadZipFile:
        raise
    except _HEADER_ERRORS as error:
        raise DataError(f"{where}: damaged npy header ({one_line(error)[:100]})") from None
    if any(size < 0 for size in shape):
        raise DataError(f"{where}: damaged npy header (shape {shape})")
    return shape, fortran_order, dtype
