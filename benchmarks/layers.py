"""Single layers and matrix products beside PyTorch's: shares of the machine's peak.

    python benchmarks/layers.py [--threads 1 2] [--rounds 10] [--only conv|matmul] [--json FILE]

The peak is measured first: multiplications and additions on vector registers alone, with the instruction set in use.
For each convolution (batch 64, float32, the most threads) the forward pass, the gradient of the input and that of the
weights, with 'auto' and 'direct', and PyTorch's (oneDNN), taking turns in one run: GF/s of direct-convolution work by
the minimum and, in brackets, the median time, the share of the peak by the minimum (Winograd does less arithmetic than
it is counted for, and may pass 1), and the median speed beside PyTorch's: above 1 chainrule is faster. For square
matrix products the same, on each number of threads.
"""

import argparse
import json
import statistics
from pathlib import Path

from engines import ENGINES, Worker, head, row

CONVOLUTIONS = {  # name: size, channels, filters, kernel, stride
    "3x3 32x32 96-96": (32, 96, 96, 3, 1),
    "3x3 16x16 192-192": (16, 192, 192, 3, 1),
    "3x3 8x8 192-192": (8, 192, 192, 3, 1),
    "3x3/2 16x16 192-192": (16, 192, 192, 3, 2),
    "5x5 16x16 96-192": (16, 96, 192, 5, 1),
    "1x1 32x32 192-160": (32, 192, 160, 1, 1),
}
PASSES = ("forward", "input_gradient", "weight_gradient")
ALGORITHMS = ("auto", "direct")
SIZES = (256, 512, 1024, 2048)
COMPARED = ("chainrule", "torch")


def work(name):
    size, channels, filters, kernel, stride = CONVOLUTIONS[name]
    return 2 * 64 * (size // stride) ** 2 * channels * filters * kernel**2


def rows(only, threads):
    """(label, pass, threads, flops, chainrule's cases, PyTorch's case); a case is a name and settings."""
    if only != "matmul":
        for name, sizes in CONVOLUTIONS.items():
            for direction in PASSES:
                cases = [("convolution", *sizes, direction, algorithm) for algorithm in ALGORITHMS]
                yield name, direction.replace("_", " "), threads[-1], work(name), cases, cases[0]
    if only != "conv":
        for count in threads:
            for n in SIZES:
                yield f"matmul {n}", "forward", count, 2 * n**3, [("product", n)], ("product", n)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=["conv", "matmul"])
    parser.add_argument("--json", type=Path, help="write every time here")
    options = parser.parse_args()

    workers = {(engine, n): Worker(engine, n) for n in options.threads for engine in COMPARED}
    peaks = {n: workers["chainrule", n].value("peak", 1.0) for n in options.threads}
    print(", ".join(f"{ENGINES[e]} {workers[e, options.threads[0]].version}" for e in COMPARED))
    for n, peak in peaks.items():
        print(f"peak of float32 multiply-adds, {n} thread{'s' * (n > 1)}: {peak / 1e9:.0f} GF/s")
    cells = [
        "layer",
        "pass",
        "threads",
        "auto GF/s",
        "of peak",
        "direct GF/s",
        "of peak",
        "PyTorch GF/s",
        "of peak",
        "auto / PyTorch",
        "direct / PyTorch",
    ]
    print("\n" + head(cells))
    record = {}
    for label, direction, n, flops, own, peer in rows(options.only, options.threads):
        times = {case: [] for case in own}
        torch_times = []
        for _ in range(options.rounds):
            for case in own:
                times[case] += workers["chainrule", n].times(*case)
            torch_times += workers["torch", n].times(*peer)
        record[f"{label} {direction} {n}"] = {str(case): t for case, t in times.items()} | {
            "torch": torch_times
        }
        cells = [label, direction, n]
        nothing = [[]] * (len(ALGORITHMS) - len(own))  # a product has one algorithm
        for t in [*times.values(), *nothing, torch_times]:
            speeds = [flops / seconds / 1e9 for seconds in (min(t), statistics.median(t))] if t else []
            cells += (
                [f"{speeds[0]:.0f} ({speeds[1]:.0f})", f"{1e9 * speeds[0] / peaks[n]:.2f}"] if t else "--"
            )
        median = statistics.median(torch_times)
        cells += [f"{median / statistics.median(t):.2f}" if t else "-" for t in [*times.values(), *nothing]]
        print(row(cells), flush=True)
    for worker in workers.values():
        worker.close()
    if options.json:
        options.json.write_text(json.dumps(record))


if __name__ == "__main__":
    main()
