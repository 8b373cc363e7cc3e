"""Threads, memory and what this build runs on."""

from __future__ import annotations

import operator
import platform

import numpy as np

from chainrule import _core


def set_num_threads(n: int) -> None:
    """Use n threads in kernels, 1 to 1024. Results are the same to the bit for any number.

    At the start it is OMP_NUM_THREADS where that is set, else the processors that the affinity mask and the
    cgroup quota leave to the process.

    Errors: ValueError for another number, TypeError for what is no integer.
    """
    try:
        number = operator.index(n)
    except TypeError:
        raise TypeError(f"set_num_threads: {n!r} is not an integer") from None
    if not 1 <= number <= 1024:
        raise ValueError(f"set_num_threads: {number} threads: give a number from 1 to 1024")
    _core.set_num_threads(number)


def get_num_threads() -> int:
    """How many threads kernels use."""
    return _core.get_num_threads()


def set_conv_algorithm(name: str) -> None:
    """Choose how `conv2d` and its gradients are computed.

    Args:
        name: 'auto' takes for each shape what is expected to be fastest; 'direct' sums products where they lie, for
            any shape; 'winograd' transforms tiles (Lavin and Gray, 2016) wherever it exists: 3x3 and 5x5 kernels
            with stride and dilation 1 in one group, with 'direct' for all others. In float64 'auto' is 'direct'.

    In float32 'direct' errs by a few 1e-7 of the sum of absolute products, 'winograd' by up to some 1e-5 of the
    largest output.

    Errors: ValueError for another name.
    """
    _core.set_conv_algorithm(name)


def get_conv_algorithm() -> str:
    """The choice made with `set_conv_algorithm`; 'auto' at the start."""
    return _core.conv_algorithm()


_BFLOAT16 = {"amx_bf16": "matrix unit (AMX)", "avx512_bf16": "dot products (AVX-512)"}


def show_config() -> str:
    """The version, processor features in use, threads and compiler, as text of one fact a line.

    The line on bfloat16 says how `autocast` computes its products: by the processor's own instructions, or, slower
    than float32 alone, by float32 ones of rounded operands.
    """
    from chainrule import __version__

    return "\n".join(
        [
            f"chainrule        {__version__}",
            f"instruction set  {_core.active_isa()} (this machine has {', '.join(_core.available_isas())})",
            f"bfloat16         {_BFLOAT16.get(_core.active_isa(), 'rounded operands, float32 products')}",
            f"threads          {_core.get_num_threads()}",
            f"compiler         {_core.compiler()}",
            f"Python           {platform.python_version()}",
            f"NumPy            {np.__version__}",
        ]
    )
