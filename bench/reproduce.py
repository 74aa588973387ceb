#!/usr/bin/env python3
"""Measures every figure that the project publishes, and writes table and plots beside the results.

`--quick` runs each case once, to see that all works; figures to publish need repetitions.
"""

import argparse
import sys
from pathlib import Path

from lanlab.campaign import Campaign, end_in_order
from lanlab.cli import RESULTS, TIMEOUT_S, needs_root
from lanlab.report import write_report
from lanlab.scenarios import SCENARIOS
from lanlab.tools import TOOLS

OF_TREES = ("rsync", "rsync-times", "tar")
ALL = tuple(name for name in TOOLS if name not in OF_TREES)
BEST = ("tnet", "libtorrent")
OWN = ("tnet",)

# Other tools run where they can be compared; validations of the lab, and cases that only tnet
# supports, run alone.
CASES = {
    "lan16": ALL,
    "lan16-half": OWN,
    "lan16-big": BEST,
    "lan48": BEST,
    "one": ALL,
    "slow-seed": BEST,
    "slow-up": BEST,
    "two-seeds": BEST,
    "joining": BEST,
    "leaving": OWN,
    "lan16-small": BEST,
    "tree-big": ("tnet", "rsync", "tar", "nginx+curl", "libtorrent"),
    "tree-big16": BEST,
    "tree-small": ("tnet", "rsync", "tar", "nginx+curl", "libtorrent", "aria2"),
    "tree-small16": BEST,
    "update": ("tnet", "rsync", "rsync-times"),
    "update-image": ("tnet", "rsync"),
    "sparse": ("tnet", "rsync", "tar"),
}
REPETITIONS = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--only", help="comma-separated scenarios")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(CASES)
    if unknown := [name for name in wanted if name not in CASES]:
        print(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}", file=sys.stderr)
        return 2
    if needs_root():
        return 2
    if missing := TOOLS["tnet"].missing():
        print(missing, file=sys.stderr)
        return 2
    end_in_order()
    campaign = Campaign(options.results, 1 if options.quick else REPETITIONS, TIMEOUT_S)
    try:
        for name in wanted:
            # Figures of another day or version must not be mixed with these.
            (options.results / f"{name}.jsonl").unlink(missing_ok=True)
            campaign.measure(SCENARIOS[name], CASES[name])
            write_report(options.results)
    except KeyboardInterrupt:
        print("interrupted; what was measured is kept", file=sys.stderr)
        return 130
    print(options.results / "table.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
