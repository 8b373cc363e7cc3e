"""Reads one file in the IDX format of MNIST, gzipped or not.

The format (Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits): two zero bytes, a byte
for the type (8 is uint8), a byte for the number of axes, each axis as a big-endian uint32, then the values
in C order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .checks import one_line, read_at_most
from .dataset import DataError


def read_idx(path: Path, axes: int, where: str) -> np.ndarray:
    """The uint8 array of `axes` axes in the file; a name that ends in .gz is taken for gzipped.

    Raises `DataError`, beginning with `where`, for another magic number, for fewer or more bytes than the
    header says, and for gzip data that is none, is truncated, or fails its checksum. No more memory is used
    than the bytes that are there need, whatever the header says.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return _read(stream, axes, where)  # type: ignore[arg-type]
        with path.open("rb") as stream:
            return _read(stream, axes, where)
    except EOFError:
        raise DataError(f"{where}: truncated gzip file: fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where}: damaged gzip file ({one_line(error)}): fetch it again") from None
    except MemoryError:
        raise DataError(f"{where}: it does not fit into memory") from None
    except OSError as error:
        raise DataError(f"{where}: {one_line(error)}") from None


def _read(stream: BinaryIO, axes: int, where: str) -> np.ndarray:
    magic = stream.read(4)
    expected_magic = bytes([0, 0, 8, axes])
    if magic != expected_magic:
        hint = "its name should end in .gz" if magic.startswith(b"\x1f\x8b") else "fetch it again"
        raise DataError(
            f"{where}: begins with {magic.hex() or 'nothing'}, not with {expected_magic.hex()}, "
            f"the magic number of IDX with {axes} axes of uint8: {hint}"
        )
    header = stream.read(4 * axes)
    if len(header) < 4 * axes:
        raise DataError(f"{where}: truncated within its header: fetch it again")
    shape = struct.unpack(f">{axes}I", header)
    expected = math.prod(shape)
    # One byte more than there should be: it shows trailing bytes, and reaching the end makes gzip compare
    # the checksum.
    data = read_at_most(stream, expected + 1)
    if len(data) != expected:
        there = "more" if len(data) > expected else f"{len(data)}"
        raise DataError(
            f"{where}: header says {' x '.join(map(str, shape))} = {expected} bytes, "
            f"{there} are there: fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
