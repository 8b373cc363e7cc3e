"""Writes the tables of results/README.md from the kept runs in results/metrics.

    python results/table.py [--check]

The text around the tables is left as it is. With --check nothing is written; the exit status is 1 if it would change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kept import Kept, read_kept
from rows import HERE, ResultsError, Row, read_rows

from chainrule.files import replace_file

README = HERE / "README.md"
METRICS = HERE / "metrics"
ENGINES = {"chainrule": "chainrule", "torch": "PyTorch"}

HEADS = {
    "results": (
        "row", "net, data", "seed", "precision", "epochs", "time", "peak memory", "test error", "the paper's",
        "to reach", "reached",
    ),
    "comparisons": (
        "runs", "epochs", "our error", "PyTorch's", "ours - PyTorch's", "our time", "PyTorch's", "share",
        "to reach", "reached",
    ),
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, say whether it would change")
    options = parser.parse_args(argv)
    try:
        return write(check=options.check)
    except ResultsError as error:
        print(f"results: {error}", file=sys.stderr)
        return 2


def write(
    readme: Path = README, metrics: Path = METRICS, file: Path = HERE / "rows.toml", check: bool = False
) -> int:
    """Put the tables in their places. Returns 1 if `check` and they differ. Errors: ResultsError."""
    rows, comparisons = read_rows(file)
    kept = {name: read_kept(metrics / name) for name in rows}
    old = new = readme.read_text(encoding="utf-8")
    for name in dict.fromkeys(row.table for row in rows.values()):
        of_table = [row for row in rows.values() if row.table == name]
        new = replaced(new, name, results_table(of_table, kept))
    new = replaced(new, "seeds", seeds_table(rows.values(), kept))
    new = replaced(new, "comparisons", comparisons_table(comparisons, rows, kept))
    new = replaced(new, "curves", curves_table(comparisons, kept))
    new = replaced(new, "commands", commands_table(rows.values(), kept))
    new = replaced(new, "machines", machines(kept.values()))
    if check:
        return int(new != old)
    if new != old:
        replace_file(readme, new.encode())
    return 0


def replaced(text: str, name: str, content: str) -> str:
    """The text with other content between the marks of a table. Errors: ResultsError for missing marks."""
    begin, end = f"<!-- {name}: written by table.py -->\n", f"<!-- end of {name} -->\n"
    if begin not in text or end not in text:
        raise ResultsError(f"README.md: the marks of {name} are missing: {begin.strip()} and {end.strip()}")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}"


# ---- Tables ----------------------------------------------------------------------------------------------------


def results_table(rows: Sequence[Row], kept: Mapping[str, Kept | None]) -> str:
    return markdown(HEADS["results"], [result_line(row, kept[row.name]) for row in rows])


def result_line(row: Row, run: Kept | None) -> list[str]:
    title = f"{row.title}, {row.data_title}"
    to_reach = wanted(row)
    if run is None:
        return [f"`{row.name}`", title, *["-"] * 6, row.paper or "-", to_reach, "not run yet"]
    if not run.history:
        return [f"`{row.name}`", title, *["-"] * 6, row.paper or "-", to_reach, state(row, run)]
    result = run.result
    return [
        f"`{row.name}`",
        title,
        str(run.settings["seed"]),
        run.settings["precision"],
        str(len(run.history)),
        duration(result["seconds"]) + (f" in {result['parts']} parts" if result["parts"] > 1 else ""),
        f"{result['peak_mb']:,.0f} MB",
        f"**{run.errors[-1]:.2f} %**" if run.done else f"{run.errors[-1]:.2f} %",
        row.paper or "-",
        to_reach,
        state(row, run),
    ]


def wanted(row: Row) -> str:
    parts = []
    if row.most_error is not None:
        parts.append(f"at most {row.most_error:g} %")
    if row.most_seconds is not None:
        parts.append(f"in {duration(row.most_seconds)}")
    return " ".join(parts) or "-"


def state(row: Row, run: Kept) -> str:
    """Whether a run reached its figures."""
    if not run.done:
        return f"failed: {run.result.get('reason', 'no reason was kept')}"
    missed = []
    # As shown: an error of 0.8 % is 80 of 10,000, whatever a float makes of it.
    if row.most_error is not None and round(run.errors[-1], 4) > row.most_error:
        missed.append("error")
    if row.most_seconds is not None and run.result["seconds"] > row.most_seconds:
        missed.append("time")
    if row.most_error is None and row.most_seconds is None:
        return "-"
    return f"**no** ({' and '.join(missed)})" if missed else "yes"


def seeds_table(rows, kept) -> str:
    """The final errors of rows that differ in their seed alone, and their mean."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.but_for_seed, []).append(row)
    lines = []
    for group in groups.values():
        if len(group) < 2:
            continue
        runs = [kept[row.name] for row in group]
        late = [row.name for row, run in zip(group, runs, strict=True) if not (run and run.done)]
        ended = [run for run in runs if run and run.done]
        errors = [run.errors[-1] for run in ended]
        lines.append(
            [
                f"{group[0].title}, {group[0].data_title}",
                ", ".join(f"{run.errors[-1]:.2f} % ({run.settings['seed']})" for run in ended) or "-",
                f"waits for {' and '.join(late)}" if late else f"**{sum(errors) / len(errors):.2f} %**",
                group[0].paper or "-",
            ]
        )
    return markdown(("net, data", "test error (seed)", "mean", "the paper's"), lines)


def comparisons_table(comparisons, rows, kept) -> str:
    lines = []
    for comparison in comparisons:
        ours, peer = kept[comparison.ours], kept[comparison.peer]
        aims = []
        if comparison.within is not None:
            aims.append(f"within {comparison.within:g} point{'s' if comparison.within != 1 else ''}")
        else:
            aims.append("no worse")
        if comparison.most_share is not None:
            aims.append(f"at most {comparison.most_share:g} of the time")
        title = f"{comparison.title} (`{comparison.ours}`, `{comparison.peer}`)"
        if not (ours and peer and ours.done and peer.done):
            late = [
                name
                for name, run in ((comparison.ours, ours), (comparison.peer, peer))
                if not (run and run.done)
            ]
            lines.append([title, *["-"] * 7, ", ".join(aims), f"waits for {' and '.join(late)}"])
            continue
        if ours.result["machine"] != peer.result["machine"]:
            lines.append([title, *["-"] * 7, ", ".join(aims), "waits for both on one machine"])
            continue
        difference = ours.errors[-1] - peer.errors[-1]
        share = ours.training_seconds / peer.training_seconds
        missed = []
        if round(abs(difference) if comparison.within is not None else difference, 4) > (
            comparison.within or 0
        ):
            missed.append("error")
        if comparison.most_share is not None and share > comparison.most_share:
            missed.append("time")
        lines.append(
            [
                title,
                str(len(ours.history)),
                f"{ours.errors[-1]:.2f} %",
                f"{peer.errors[-1]:.2f} %",
                f"{difference:+.2f}",
                duration(ours.training_seconds),
                duration(peer.training_seconds),
                f"{share:.2f}",
                ", ".join(aims),
                f"**no** ({' and '.join(missed)})" if missed else "yes",
            ]
        )
    return markdown(HEADS["comparisons"], lines)


def curves_table(comparisons, kept) -> str:
    """The test error after each epoch of the runs that are compared."""
    names = dict.fromkeys(name for c in comparisons for name in (c.ours, c.peer))
    lines = [
        [f"`{name}`", ENGINES[run.result["engine"]], " ".join(f"{error:.2f}" for error in run.errors)]
        for name in names
        if (run := kept[name]) and run.history
    ]
    return markdown(("row", "engine", "test error in % after each epoch"), lines)


def commands_table(rows, kept) -> str:
    lines = [
        [f"`{row.name}`", f"`{run.result['command']}`", described(run.settings) if run.settings else "-"]
        for row in rows
        if (run := kept[row.name])
    ]
    return markdown(("row", "command", "how it was trained, beside the paper's layers"), lines)


def described(settings: Mapping[str, Any]) -> str:
    """What of today was added, and the steps, in words."""
    get = settings.get
    batch = get("batch-size")
    parts = [f"batches of {batch}", f"{get('optimizer')}, learning rate {get('lr'):g}"]
    if get("momentum"):
        parts.append(f"{'Nesterov ' if get('nesterov') else ''}momentum {get('momentum'):g}")
    schedule = get("schedule")
    parts.append("constant rate" if schedule == "constant" else f"{schedule} schedule")
    if get("warmup"):
        parts.append(f"{get('warmup'):g} epochs of warm-up")
    if get("bias-lr", 1) != 1:
        parts.append(f"{get('bias-lr'):g} times the learning rate for biases")
    for name in ("weight-decay", "bias-weight-decay", "l1", "l2"):
        if get(name):
            parts.append(f"{name.replace('-', ' ')} {get(name):g}")
    if get("batch-norm"):
        parts.append("batch norm")
    for name in ("input-dropout", "dropout", "classifier-dropout"):
        if get(name):
            parts.append(f"{name.replace('-', ' ')} {get(name):g}")
    if get("flip", "none") != "none":
        parts.append(f"flip ({get('flip')})")
    if get("translate"):
        parts.append(f"translation by {get('translate')} ({get('padding')} padding)")
    if get("cutout"):
        parts.append(f"cut-out {get('cutout')}")
    if get("label-smoothing"):
        parts.append(f"label smoothing {get('label-smoothing'):g}")
    if get("ema"):
        parts.append(f"average of weights {get('ema'):g}")
    if get("lookahead"):
        parts.append(f"lookahead {get('lookahead')}")
    if get("tta", "none") != "none":
        parts.append(f"tested on views ({get('tta')})")
    parts.append(f"inputs: {get('normalize')}")
    return ", ".join(parts)


def machines(runs) -> str:
    """The machines that the runs were made on, and the versions."""
    found: dict[str, None] = {}
    for run in filter(None, runs):
        m, v = run.result["machine"], run.result["versions"]
        text = f"{m['processor']}, {m['cores']} cores, {m['instruction_set']}"
        found[f"- {text}; " + ", ".join(f"{name} {version}" for name, version in v.items())] = None
    return "\n".join(found) + "\n" if found else "No run was kept yet.\n"


# ---- Text ------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """'9.5 s', '4 min 05 s', '1 h 02 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    whole = round(seconds / 60)
    return f"{whole // 60} h {whole % 60:02d} min" if whole % 60 else f"{whole // 60} h"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"

    return line(head) + "|" + " --- |" * len(head) + "\n" + "".join(map(line, lines))


if __name__ == "__main__":
    sys.exit(main())
