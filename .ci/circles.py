#!/usr/bin/env python3
"""Imports that go in a circle, from the `use` lines and paths of each crate.

No circle may span two directories of a crate. A directory with a circle inside has a row with the
reason in ARCHITECTURE.md. Tests may import anything. `--edges` shows what makes each circle.
"""

import pathlib
import re
import sys

TABLE = "ARCHITECTURE.md"
ROW = re.compile(r"^\| `(crates/[\w-]+/src[^`]*)` \|", re.MULTILINE)

COMMENT = re.compile(r"//[^\n]*")
STRING = re.compile(r'b?"(?:[^"\\]|\\.)*"', re.DOTALL)
TEST_ITEM = re.compile(r"#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub\S*\s+)?(mod|use)\s+[^;{]*([;{])")
USE = re.compile(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")
CHILD = re.compile(r"\bmod\s+(\w+)\s*;")
INLINE = re.compile(r"\bmod\s+\w+\s*\{")
PATH = re.compile(r"\b(?:crate|self|super)(?:::\w+)+")


class Module:
    def __init__(self, file, path, directory):
        self.file, self.path, self.directory = file, path, directory
        self.imports, self.aliases, self.children, self.globs = [], {}, set(), []


def end_of_block(text, begin):
    """Behind the brace that closes the one before `begin`."""
    depth = 1
    while depth and begin < len(text):
        depth += {"{": 1, "}": -1}.get(text[begin], 0)
        begin += 1
    return begin


def shipped(text):
    """Without comments, strings and tests; modules within the file as a part of it."""
    text = STRING.sub('""', COMMENT.sub("", text))
    while found := TEST_ITEM.search(text):
        kind, last = found.groups()
        end = found.end() if last == ";" else end_of_block(text, found.end())
        if kind == "use" and last == "{":
            end = text.index(";", end) + 1
        text = text[: found.start()] + text[end:]
    for found in INLINE.finditer(text):
        end = end_of_block(text, found.end())
        text = text[: found.end()] + text[found.end() : end].replace("super::", "self:: ") + text[end:]
    return text.replace("self:: ", "self::")


def leaves(tree):
    """`a::{b, c::d as e}` as (`a::b`, `b`) and (`a::c::d`, `e`)."""
    tree = " ".join(tree.split())
    if "{" not in tree:
        path, _, alias = tree.partition(" as ")
        parts = tuple(part for part in path.strip().split("::") if part)
        if parts and parts[-1] == "self":
            parts = parts[:-1]
        if parts:
            yield parts, alias.strip() or parts[-1]
        return
    head, _, rest = tree.partition("{")
    head, depth, begin = head.strip(), 1, 0
    for at, char in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if (char == "," and depth == 1) or depth == 0:
            yield from leaves(head + rest[begin:at].strip()) if rest[begin:at].strip() else ()
            begin = at + 1
        if depth == 0:
            return


def read(source):
    """The modules of a crate, by path."""
    root = source / "lib.rs" if (source / "lib.rs").exists() else source / "main.rs"
    modules, waiting = {}, [((), root)]
    while waiting:
        path, file = waiting.pop()
        below = file.parent if file.name in ("lib.rs", "main.rs", "mod.rs") else file.with_suffix("")
        text = shipped(file.read_text(encoding="utf-8"))
        children = CHILD.findall(text)
        module = modules[path] = Module(file, path, below if children else file.parent)
        for child in children:
            module.children.add(child)
            for candidate in (below / f"{child}.rs", below / child / "mod.rs"):
                if candidate.exists():
                    waiting.append((path + (child,), candidate))
        for public, tree in USE.findall(text):
            for parts, alias in leaves(tree):
                if public and parts[-1] == "*":
                    module.globs.append(parts[:-1])
                elif public:
                    module.aliases[alias] = parts
                else:
                    module.imports.append(parts)
        rest = USE.sub("", text)
        module.imports += [tuple(found.split("::")) for found in PATH.findall(rest)]
        names = "|".join(sorted(module.children)) or r"(?!)"
        module.imports += [tuple(found.split("::")) for found in re.findall(rf"(?<![\w:])(?:{names})(?:::\w+)+", rest)]
    return modules


def absolute(module, parts):
    """From the crate's root; none if it leads out of the crate."""
    at = list(module.path)
    if parts[0] == "crate":
        return parts[1:]
    if parts[0] in ("self", "super"):
        while parts and parts[0] in ("self", "super"):
            if parts[0] == "super":
                at.pop()
            parts = parts[1:]
        return tuple(at) + parts
    if parts[0] in module.children:
        return tuple(at) + parts
    return None


def target(modules, parts, seen=()):
    """The module that a path is in, through what others export on; none if it is outside."""
    known = ()
    while len(known) < len(parts) and parts[: len(known) + 1] in modules:
        known = parts[: len(known) + 1]
    module, rest = modules[known], parts[len(known) :]
    if not rest or (known, rest) in seen:
        return known
    if exported := module.aliases.get(rest[0]):
        there = absolute(module, exported)
        return there and target(modules, there + rest[1:], (*seen, (known, rest)))
    for exported in module.globs:
        there = absolute(module, exported)
        if there and there in modules:
            file = modules[there].file.read_text(encoding="utf-8")
            if re.search(rf"\b(?:struct|enum|fn|trait|type|const|static|mod)\s+{rest[0]}\b", file):
                return there
    return known


def circles(edges):
    """Tarjan's strongly connected components of more than one module."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(members)

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found


def of_crate(source):
    modules = read(source)
    edges = {path: set() for path in modules}
    for path, module in modules.items():
        for parts in module.imports:
            there = absolute(module, parts)
            there = target(modules, there) if there is not None else None
            if there is not None and there != path:
                edges[path].add(there)
    for members in circles(edges):
        yield [modules[path] for path in members], {path: edges[path] for path in members}


def main():
    explained = set(ROW.findall(pathlib.Path(TABLE).read_text(encoding="utf-8")))
    found, inside = [], set()
    for source in sorted(pathlib.Path("crates").glob("*/src")):
        for members, edges in of_crate(source):
            names = {module.path: module.file.as_posix() for module in members}
            if "--edges" in sys.argv:
                for path in sorted(edges):
                    uses = sorted(names[other] for other in edges[path] if other in names)
                    print(f"{names[path]} -> {', '.join(uses)}")
            directories = {module.directory for module in members}
            if len(directories) == 1:
                inside.add(directories.pop().as_posix())
            else:
                found.append("a circle of imports: " + ", ".join(sorted(names.values())))
    found += [f"{TABLE} gives no reason for the circle inside {name}" for name in sorted(inside - explained)]
    found += [f"{TABLE} explains a circle that is gone: {name}" for name in sorted(explained - inside)]
    print("\n".join(found) or "no circle of imports spans two directories")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
