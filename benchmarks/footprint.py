"""What chainrule costs before it computes: import time over NumPy's, and the size of the wheel.

    python benchmarks/footprint.py [--runs 15] [--wheel FILE]

Import times are those of whole processes, `import numpy` and `import chainrule` taking turns; the wheel is
built when no file is given.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(statement):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def build_wheel(folder):
    root = Path(__file__).resolve().parents[1]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, root],
        check=True,
    )
    return next(Path(folder).glob("chainrule-*.whl"))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--wheel", type=Path)
    options = parser.parse_args()

    differences = []
    seconds("import numpy, chainrule")  # fill the file cache
    for _ in range(options.runs):
        numpy_alone = seconds("import numpy")
        differences.append(seconds("import chainrule") - numpy_alone)
    print(
        f"import chainrule, over import numpy: minimum {1e3 * min(differences):.0f} ms, "
        f"median {1e3 * statistics.median(differences):.0f} ms"
    )
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or build_wheel(folder)
        print(f"wheel {wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
