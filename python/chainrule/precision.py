"""The precision in which products are computed: `autocast`."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator

KNOWN = ("float32", "bfloat16")


class _State(threading.local):
    bfloat16 = False


state = _State()  # of each thread: read by the gates when they are applied


class autocast(ContextDecorator):
    """Within it, matrix products and convolutions of float32 arrays round their operands to `dtype`.

    With "bfloat16" each operand of a product is rounded to bfloat16 (8 bits of significand, the exponents of float32);
    sums, results, parameters and all other operations stay float32. The gradients of what was computed within it
    are computed in the same precision, wherever `backward` is called. A sum of n products is off by at most
    (2^-7 + n 2^-24) times the sum of their absolute values.

    The processor's matrix unit (AMX) or dot products of bfloat16 (AVX-512) do the work where it has one
    (`chainrule.show_config`); there some convolutions stay float32 where Winograd's algorithm is faster still.
    Elsewhere operands are rounded all the same and multiplied as float32, which is slower than float32 alone: of use
    to see what the format does. Products with a side, and convolutions with channels, below 16 are left in float32.

    Args:
        dtype: "bfloat16", or "float32" for a part within that is to be exact.

    As a context or a decorator; for the thread that enters it.

    Errors: ValueError for another dtype.

    >>> import chainrule as cr, numpy as np
    >>> x = np.full((16, 16), 1.001, np.float32)
    >>> with cr.autocast("bfloat16"):
    ...     y = cr.matmul(x, np.eye(16, dtype=np.float32))
    >>> float(y[0, 0])
    1.0

    Micikevicius et al., Mixed Precision Training, 2018; Kalamkar et al., A Study of BFLOAT16 for Deep Learning
    Training, 2019.
    """

    def __init__(self, dtype):
        if dtype not in KNOWN:
            raise ValueError(f"autocast: dtype {dtype!r}: give one of {', '.join(KNOWN)}")
        self.bfloat16 = dtype == "bfloat16"
        self.before = []

    def __enter__(self):
        self.before.append(state.bfloat16)
        state.bfloat16 = self.bfloat16
        return self

    def __exit__(self, *exception):
        state.bfloat16 = self.before.pop()
        return False
