"""Measures every loss of the crate against PyTorch eager and torch.compile, in turns, on the same inputs.

The cases and their sizes are in benches/cases/table.txt. Three processes hold the same inputs: ours
(benches/side_by_side.rs), and scripts/bench_torch.py twice. First their results are compared. Then, round after
round, each is asked for the median time of some forward and backward passes; the ratio of a case is the median of
the rounds' ratios. The peak is the most memory that one pass takes beside its inputs.

A copy is the time that libtorch takes to copy the inputs that get a gradient, which is as fast as memory lets a pass be
that reads them and writes their gradients; it is given for 4 MiB of inputs and more.

A ratio below 1 is ours being faster or smaller; '-' was not measured (a peak under 1 MiB, a case that torch.compile
refuses, CUDA memory of ours).
"""

import argparse
import csv
import json
import os
import platform
import select
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZES = ["small", "usual", "large"]
MODES = ["ours", "eager", "compile"]
TURN = 0.15  # seconds of passes that a worker is asked for at a time
PATIENCE = 900  # seconds, for torch.compile


def main():
    options = parse()
    wanted = [row for row in table() if any(part in row[0] for part in options.cases.split(","))]
    if not wanted:
        stop(f"no case has {options.cases} in its name; benches/cases/table.txt lists them.")
    python = find_python(options.python)
    modes = MODES[:2] if options.compile == "none" else MODES
    of_torch = lambda mode: [python, str(ROOT / "scripts/bench_torch.py"), mode, options.device, str(options.threads)]
    commands = {mode: of_torch(mode) for mode in modes[1:]}
    commands["ours"] = of_torch("eager") if options.noise else [build(), options.device, str(options.threads)]

    options.csv.parent.mkdir(parents=True, exist_ok=True)
    log = open(options.csv.with_suffix(".log"), "w")
    timers = {mode: Worker(command, log) for mode, command in commands.items()}
    scales = {mode: Worker(command, log, frugal=True) for mode, command in commands.items()}
    print(conditions(options, python))
    if options.noise:
        print("'ours' is eager once more.\n")
    rows = []
    try:
        for case, sizes in wanted:
            for label, size in zip(SIZES, sizes):
                if label not in options.sizes.split(","):
                    continue
                taking_part = [m for m in modes if m != "compile" or options.compile in ("all", label)]
                row = measure(f"{case} {size}", taking_part, timers, scales, options)
                rows.append({"case": case, "label": label, "size": size, **row})
                progress(rows[-1])
                save(options.csv, rows)
    except KeyboardInterrupt:
        print("bench: stopped; what was measured follows", file=sys.stderr)
    finally:
        for worker in [*timers.values(), *scales.values()]:
            worker.end()
    print_table(rows)
    print(f"\nbench: saved in {options.csv}", file=sys.stderr)
    wrong = [f"{row['case']} {row['size']}" for row in rows if row["differs"]]
    if wrong:
        stop(f"ours and eager gave other results, so their times compare nothing: {', '.join(wrong)}.")


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", metavar="PART[,PART]", help="only cases with one of these in their name")
    parser.add_argument("--sizes", default=",".join(SIZES), metavar="SIZE[,SIZE]", help="small, usual, large; all by default")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each takes; 7 by default")
    parser.add_argument("--compile", default="all", choices=["all", *SIZES, "none"], help="sizes that torch.compile takes part in")
    parser.add_argument("--no-compile", dest="compile", action="store_const", const="none", help="the same as --compile none")
    parser.add_argument("--no-peak", action="store_true", help="leave the memory out")
    parser.add_argument("--noise", action="store_true", help="eager in the place of ours: how far from 1 the ratios of like things are here")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each; all cores by default")
    parser.add_argument("--python", help="the Python with the packages of scripts/requirements.txt; .venv's by default")
    parser.add_argument("--csv", type=Path, default=ROOT / "runs/bench.csv", help="runs/bench.csv by default")
    return parser.parse_args()


def stop(message):
    sys.exit(f"bench: {message}")


def table():
    lines = (ROOT / "benches/cases/table.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [(case, sizes) for case, *sizes in rows]


def find_python(chosen):
    python = chosen or str(ROOT / ".venv/bin/python")
    pip = f"{python} -m pip install"
    install = f"{pip} -r scripts/requirements.txt && {pip} --no-deps -r scripts/requirements-oracles.txt"
    try:
        found = subprocess.run([python, "-c", "import bench_torch"], cwd=ROOT / "scripts", capture_output=True, text=True)
    except OSError:
        stop(f"there is no {python}: make it with '{sys.executable} -m venv .venv', then '{install}', or pass --python.")
    if found.returncode:
        reason = (found.stderr.strip() or "it said nothing").splitlines()[-1]
        stop(f"{python} lacks what ours is compared with ({reason}): '{install}'.")
    return python


def build():
    """Builds our worker and returns its path."""
    command = ["cargo", "bench", "--quiet", "--bench", "side_by_side", "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    paths = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "side_by_side"]
    if built.returncode or not paths:
        stop("our side could not be built (cargo's reason is above).")
    return paths[-1]


def conditions(options, python):
    script = "import torch, torchvision, timm; print(f'torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}')"
    packages = subprocess.run([python, "-c", script], capture_output=True, text=True).stdout.strip()
    load = f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return f"{packages}; {options.device}, {options.threads} threads of {platform.machine()}, {options.rounds} rounds; {load}\n"


class Worker:
    """A process that answers a line with a line; started when it is first asked."""

    def __init__(self, command, log, frugal=False):
        self.command, self.log, self.process = command, log, None
        # A process that is timed keeps the blocks it frees: new pages cost more than most losses, and how many a
        # process asks for depends on what it did before. One whose peak is taken gives them back at once.
        keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
        give_back = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0"}
        self.environment = {**os.environ, **(give_back if frugal else keep)}
        self.forgets = not frugal or can_reset_peak()

    def ask(self, line):
        """The number that is answered, or None."""
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0, env=self.environment)
        try:
            self.process.stdin.write(f"{line}\n".encode())
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            answer = self.process.stdout.readline().decode().strip() if ready else "error: no answer"
        except BrokenPipeError:
            answer = ""
        if answer.startswith("ok "):
            return float(answer[3:])
        print(f"{Path(self.command[0]).name}: {line}: {answer or 'the process died'}", file=self.log, flush=True)
        if not answer.startswith("error "):
            self.end()
        return None

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def can_reset_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def measure(case, modes, timers, scales, options):
    values = {mode: timers[mode].ask(f"value {case}") for mode in modes}
    guesses = {mode: timers[mode].ask(f"time {case} 3") for mode in modes if values[mode] is not None}
    guesses = {mode: seconds for mode, seconds in guesses.items() if seconds}
    times = {mode: [] for mode in guesses}
    for turn in range(options.rounds):
        order = list(guesses)
        for mode in order[turn % len(order) :] + order[: turn % len(order)]:
            passes = min(max(int(TURN / guesses[mode]), 2), 2000)
            times[mode].append(timers[mode].ask(f"time {case} {passes}") or float("nan"))

    peaks = {}
    for mode in guesses:
        if options.no_peak or scales[mode].ask(f"value {case}") is None:
            continue
        seen = []
        for _ in range(3):
            if not scales[mode].forgets:
                scales[mode].end()
            seen.append(scales[mode].ask(f"peak {case}"))
        peaks[mode] = statistics.median(seen) if None not in seen else None

    ours, eager = values["ours"], values["eager"]
    differs = ours is None or eager is None or abs(ours - eager) > 1e-3 * max(abs(ours), abs(eager), 1e-3)
    row = {"ours": ours, "eager": eager, "differs": differs}
    for mode in MODES:
        row[f"{mode}_seconds"] = statistics.median(times[mode]) if times.get(mode) else None
        row[f"{mode}_peak_bytes"] = peaks.get(mode)
    for mode in MODES[1:]:
        pairs = list(zip(times.get("ours", []), times.get(mode, [])))
        row[f"time_to_{mode}"] = statistics.median(a / b for a, b in pairs) if pairs else None
        a, b = peaks.get("ours"), peaks.get(mode)
        row[f"peak_to_{mode}"] = a / b if a is not None and b and max(a, b) >= 2**20 else None
    row["copy_seconds"] = copy = timers["ours"].ask(f"copy {case} 20")
    row["time_to_copy"] = row["ours_seconds"] / copy if copy and row["ours_seconds"] else None
    row["load"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return row


def text(number, unit="", digits=2):
    return "-" if number is None else f"{number:.{digits}f}{unit}"


def progress(row):
    ratios = ", ".join(f"{kind} {text(row[f'{kind}_to_eager'])} of eager" for kind in ["time", "peak"])
    warning = f"; OTHER RESULT: {row['ours']} and {row['eager']}" if row["differs"] else ""
    print(f"bench: {row['case']} {row['size']}: {ratios}{warning}", file=sys.stderr, flush=True)


def save(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def print_table(rows):
    print("| case | size | ours, ms | time / eager | time / compile | time / copy | ours, MiB | peak / eager | peak / compile |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        seconds, peak = row["ours_seconds"], row["ours_peak_bytes"]
        cells = [
            row["case"],
            row["size"],
            text(seconds and seconds * 1e3, digits=3),
            text(row["time_to_eager"]),
            text(row["time_to_compile"]),
            text(row["time_to_copy"], digits=1),
            text(peak and peak / 2**20, digits=1),
            text(row["peak_to_eager"]),
            text(row["peak_to_compile"]),
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
