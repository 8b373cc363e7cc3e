"""Single layers and matrix products beside PyTorch's: shares of the machine's peak.

    python benchmarks/layers.py [--threads 1 2] [--rounds 10] [--only conv|matmul]
        [--precision float32 bfloat16] [--json FILE]

The peak is measured first: float32 multiplications and additions on vector registers alone, with the instruction set
in use. For each convolution (batch 64, the most threads) the forward pass, the gradient of the input and that of the
weights, with 'auto' and, in float32, 'direct', and PyTorch's (oneDNN), taking turns in one run: GF/s of
direct-convolution work by the minimum and, in brackets, the median time, the share of the float32 peak by the minimum
(Winograd does less arithmetic than it is counted for, and may pass 1; so may bfloat16, whose units do more), and the
median speed beside PyTorch's: above 1 chainrule is faster. For square matrix products the same, on each number of
threads.

In bfloat16 chainrule is given float32 arrays, as under its autocast, and rounds them within: its times hold that, and
its results are float32. PyTorch is given bfloat16 tensors: its times are those of oneDNN's products alone, without the
conversions that its autocast adds.
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
    # Of few channels, from the beginnings of All-CNN-C, LeNet-5 and FastCifarNet.
    "3x3 32x32 3-96": (32, 3, 96, 3, 1),
    "5x5 28x28 1-6": (28, 1, 6, 5, 1),
    "5x5 14x14 6-16": (14, 6, 16, 5, 1),
    "3x3 31x31 24-64": (31, 24, 64, 3, 1),
    "3x3 15x15 64-256": (15, 64, 256, 3, 1),
}
PASSES = ("forward", "input_gradient", "weight_gradient")
ALGORITHMS = {"float32": ("auto", "direct"), "bfloat16": ("auto",)}  # of each precision
SIZES = (256, 512, 1024, 2048)
# Seconds of one engine's turn, and the speed that it is reckoned with, in flops a second of a thread: short steps are
# repeated, for the first ones after a rest tell how soon cores wake.
ROUND, GUESS = 0.02, 1e11
COMPARED = ("chainrule", "torch")


def work(name):
    size, channels, filters, kernel, stride = CONVOLUTIONS[name]
    return 2 * 64 * (size // stride) ** 2 * channels * filters * kernel**2


def rows(only, precisions, threads):
    """(label, pass, precision, threads, flops, chainrule's cases, PyTorch's case); a case is a name and settings."""
    if only != "matmul":
        for name, sizes in CONVOLUTIONS.items():
            for direction in PASSES:
                for precision in precisions:
                    label = name, direction.replace("_", " "), precision, threads[-1]
                    case = "convolution", *sizes, direction, precision
                    yield *label, work(name), [(*case, a) for a in ALGORITHMS[precision]], case
    if only != "conv":
        for count in threads:
            for n in SIZES:
                for precision in precisions:
                    case = "product", n, precision
                    yield f"matmul {n}", "forward", precision, count, 2 * n**3, [case], case


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=["conv", "matmul"])
    parser.add_argument("--precision", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
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
        "precision",
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
    for *cells, flops, own, peer in rows(options.only, options.precision, options.threads):
        n = cells[-1]
        repetitions = max(round(ROUND * GUESS * n / flops), 1)
        times = {case: [] for case in own}
        torch_times = []
        for _ in range(options.rounds):
            for case in own:
                times[case] += workers["chainrule", n].times(*case, repetitions=repetitions)
            torch_times += workers["torch", n].times(*peer, repetitions=repetitions)
        record[" ".join(map(str, cells))] = {str(case): t for case, t in times.items()} | {
            "torch": torch_times
        }
        nothing = [[]] * (2 - len(own))  # products, and convolutions in bfloat16, have one algorithm
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
