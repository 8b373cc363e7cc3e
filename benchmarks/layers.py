"""Single layers and matrix products beside PyTorch's: shares of the machine's peak.

    python benchmarks/layers.py [--threads 2] [--rounds 10] [--only conv|matmul] [--json FILE]

For each convolution (batch 64, float32) the forward pass, the gradient of the input and that of the weights, with
'auto' and 'direct', and PyTorch's (oneDNN), taking turns in one run: GF/s of direct-convolution work by the minimum
and the median time, and the ratio to PyTorch's median. For square matrix products the same. The peak is that of
fused multiply-adds on vector registers, measured here by a small product that fits the first cache.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from training_step import ENGINES, Worker

CONVOLUTIONS = {  # name: size, channels, filters, kernel, stride
    "3x3 32x32 96-96": (32, 96, 96, 3, 1),
    "3x3 16x16 192-192": (16, 192, 192, 3, 1),
    "3x3 8x8 192-192": (8, 192, 192, 3, 1),
    "3x3/2 16x16 192-192": (16, 192, 192, 3, 2),
    "5x5 16x16 96-192": (16, 96, 192, 5, 1),
    "1x1 32x32 192-160": (32, 192, 160, 1, 1),
}
PASSES = ("forward", "input_gradient", "weight_gradient")
SIZES = (256, 512, 1024, 2048)


def work(name):
    size, channels, filters, kernel, stride = CONVOLUTIONS[name]
    return 2 * 64 * (size // stride) ** 2 * channels * filters * kernel**2


def case_of(name, direction, algorithm):
    settings = ",".join(map(str, CONVOLUTIONS[name]))
    return f"convolution:{settings},{direction},{algorithm}"


def rows(only):
    """(label, pass, flops, chainrule's case with 'auto' and 'direct', PyTorch's case)."""
    if only != "matmul":
        for name in CONVOLUTIONS:
            for direction in PASSES:
                cases = [case_of(name, direction, algorithm) for algorithm in ("auto", "direct")]
                yield name, direction, work(name), cases, cases[0]
    if only != "conv":
        for n in SIZES:
            yield f"matmul {n}", "forward", 2 * n**3, [f"product:{n}"], f"product:{n}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=["conv", "matmul"])
    parser.add_argument("--json", type=Path, help="write every time here")
    options = parser.parse_args()

    workers = {engine: Worker(engine, options.threads) for engine in ENGINES}
    peak = max(2 * 96**3 * 1000 / t for t in workers["chainrule"].times("small_products", 20))
    print(f"peak: about {peak * options.threads / 1e9:.0f} GF/s on {options.threads} threads\n")
    print("| layer | pass | auto GF/s, max (median) | direct | PyTorch | auto / PyTorch | direct / PyTorch |")
    print("|---|---|---|---|---|---|---|")
    record = {}
    for label, direction, flops, own, peer in rows(options.only):
        times = {case: [] for case in own}
        torch_times = []
        for _ in range(options.rounds):
            for case in own:
                times[case] += workers["chainrule"].times(case, 1)
            torch_times += workers["torch"].times(peer, 1)
        record[f"{label} {direction}"] = {**times, "torch": torch_times}
        median = statistics.median(torch_times)
        shown = [
            f"{flops / min(t) / 1e9:.0f} ({flops / statistics.median(t) / 1e9:.0f})" for t in times.values()
        ]
        ratios = [f"{median / statistics.median(t):.2f}" for t in times.values()]
        shown += ["-"] * (2 - len(shown)) + [
            f"{flops / min(torch_times) / 1e9:.0f} ({flops / median / 1e9:.0f})"
        ]
        ratios += ["-"] * (2 - len(ratios))
        print(f"| {label} | {direction.replace('_', ' ')} | {' | '.join(shown + ratios)} |", flush=True)
    for worker in workers.values():
        worker.close()
    if options.json:
        options.json.write_text(json.dumps(record))


if __name__ == "__main__":
    main()
