#!/usr/bin/env python3
"""A shaped LAN on one machine, and how long tools take to bring one file to all of it. See README.md."""

import sys

from lanlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
