"""Makes python/chainrule/data/uci_digits/digits.npz from scikit-learn's copy of the UCI digits.

    python tools/make_digits.py

The bytes are the same at every run: entries are stored with one fixed time stamp.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).parents[1] / "python/chainrule/data/uci_digits/digits.npz"


def make(target):
    digits = load_digits()
    arrays = {"images": digits.images.astype(np.uint8), "labels": digits.target.astype(np.uint8)}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1998, 7, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())


if __name__ == "__main__":
    make(TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")
