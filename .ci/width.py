#!/usr/bin/env python3
"""No comment and no Markdown is wider than WIDTH columns; tables, links and what was printed apart.

Code is the formatter's business. Comments: of Rust, scripts, services, manifests, settings.
"""

import pathlib
import re
import subprocess
import sys

WIDTH = 100

COMMENT = {True: re.compile(r"\s*//"), False: re.compile(r"\s*#(?!!)")}

FILES = [
    "*.rs",
    "*.md",
    "*.py",
    "*.sh",
    "*.toml",
    "*.yaml",
    "*.yml",
    "*.service",
    ".ci/run",
    "packaging/po*",
    "packaging/pre*",
    "*Dockerfile",
]
TABLE = re.compile(r"\s*(//[/!] )?\|")
LINK = re.compile(r"\]\(|\[[^\]]+\]: ")
HEADING = re.compile(r"#")

# A word that cannot be broken: a path, a name.
ONE_WORD = re.compile(r"\s*(//[/!]?\s*|#\s+|[-*>]\s+|\d+\.\s+)*\S+$")


def too_wide(path):
    is_markdown = path.suffix == ".md"
    comment = COMMENT[path.suffix == ".rs"]
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if is_markdown and line.lstrip().startswith("```"):
            fenced = not fenced
        is_prose = is_markdown or comment.match(line)
        if len(line) <= WIDTH or fenced or not is_prose:
            continue
        is_heading = is_markdown and HEADING.match(line)
        if not (is_heading or TABLE.match(line) or LINK.search(line) or ONE_WORD.match(line)):
            yield f"{path}:{number}: {len(line)} columns"


def main():
    files = subprocess.run(
        ["git", "ls-files", *FILES], check=True, capture_output=True, text=True
    )
    found = [line for name in files.stdout.split() for line in too_wide(pathlib.Path(name))]
    print("\n".join(found) or "no line is too wide")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
