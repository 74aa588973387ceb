#!/usr/bin/env python3
"""No line of code, comment or Markdown is wider than WIDTH columns; tables, links and what was printed apart."""

import pathlib
import re
import subprocess
import sys

WIDTH = 100

# A word that cannot be broken: a link, a path, a name.
ONE_WORD = re.compile(r"^\s*(//[/!]?\s*|[-*>]\s+|\d+\.\s+)*\S+$")


def too_wide(path):
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        is_markdown = path.suffix == ".md"
        if is_markdown and line.lstrip().startswith("```"):
            fenced = not fenced
        is_exempt = is_markdown and (fenced or line.startswith("|"))
        has_link = "](" in line or re.search(r"^\s*(//[/!] )?\[[^\]]+\]: ", line)
        if len(line) > WIDTH and not is_exempt and not has_link and not ONE_WORD.match(line):
            yield f"{path}:{number}: {len(line)} columns"


def main():
    listed = subprocess.run(
        ["git", "ls-files", "*.rs", "*.md", "*.py"], check=True, capture_output=True, text=True
    )
    found = [line for name in listed.stdout.split() for line in too_wide(pathlib.Path(name))]
    print("\n".join(found) or "no line is too wide")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
