#!/usr/bin/env python3
"""Instructions per step of each hot path, compared with the recorded ones.

Times on a shared machine vary by half; instructions do not. They are counted by valgrind (without it nothing is compared,
and that is an error), which shows programs a processor with AVX2 and without AVX-512, so sums of chunks count more here
than they cost.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

RECORDED = Path(__file__).parent / "results" / "instructions.json"

# How often each path is repeated for the shorter of two runs; the longer one does three times as
# many steps. The difference of the two has nothing of the program's start in it.
STEPS = {
    "codec": 2000,
    "data-head": 20000,
    "verify-64k": 50,
    "chunk-set": 2000,
    "picker": 8000,
    "uploads": 5000,
    "heartbeat": 100000,
    "handout": 5000,
}

# Hash tables are seeded anew in each run, and compilers differ.
MARGIN = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write down what is counted")
    parser.add_argument("program", type=Path, help="the tnet-micro to be measured, built for release")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("instructions.py: valgrind is not installed", file=sys.stderr)
        return 2
    counted = {name: per_step(arguments.program, name, steps) for name, steps in STEPS.items()}
    if arguments.record:
        RECORDED.write_text(json.dumps(counted, indent=2) + "\n")
    return compare(counted, json.loads(RECORDED.read_text()))


def per_step(program: Path, name: str, steps: int) -> float:
    few, many = count(program, name, steps), count(program, name, 3 * steps)
    return round((many - few) / (2 * steps), 1)


def count(program: Path, name: str, steps: int) -> int:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    run = subprocess.run(
        [*command, str(program), name, "--times", str(steps)], capture_output=True, text=True, check=False
    )
    found = re.search(r"I +refs: +([\d,]+)", run.stderr)
    if run.returncode != 0 or found is None:
        raise SystemExit(f"{name} could not be counted: {run.stderr[-500:]}")
    return int(found.group(1).replace(",", ""))


def compare(counted: dict[str, float], recorded: dict[str, float]) -> int:
    worse = []
    for name, now in counted.items():
        before = recorded.get(name)
        if before is None:
            worse.append(name)
            print(f"{name:12} {now:10.1f} instructions, nothing recorded")
            continue
        change = now / before - 1
        print(f"{name:12} {now:10.1f} instructions, {change:+.1%}")
        if change > MARGIN:
            worse.append(name)
        elif change < -MARGIN:
            print(f"{'':12} better than recorded: record it")
    if worse:
        print(f"more than recorded, by more than {MARGIN:.0%}: {', '.join(worse)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
