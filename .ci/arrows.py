#!/usr/bin/env python3
"""Which crate may use which, from `cargo metadata`; and what is kept free of a runtime."""

import json
import subprocess
import sys

# Of the dependencies that are not for tests or builds; tests may use anything.
MAY_USE = {
    "tnet-fileinfo": set(),
    "tnet-proto": {"tnet-fileinfo"},
    "tnet-sources": {"tnet-proto"},
    "tnet-net": {"tnet-sources", "tnet-proto"},
    "tnet-store": {"tnet-fileinfo"},
    "tnet-swarm": {"tnet-sources", "tnet-proto", "tnet-fileinfo"},
    "tnet-coordinator": {"tnet-net", "tnet-sources", "tnet-proto", "tnet-fileinfo"},
    "tnet-session": {"tnet-net", "tnet-store", "tnet-sources", "tnet-proto", "tnet-fileinfo"},
    "tnet-infosearch": {
        "tnet-session",
        "tnet-net",
        "tnet-sources",
        "tnet-proto",
        "tnet-fileinfo",
    },
    "tnet-peer": {
        "tnet-infosearch",
        "tnet-session",
        "tnet-swarm",
        "tnet-store",
        "tnet-net",
        "tnet-sources",
        "tnet-proto",
        "tnet-fileinfo",
    },
    "tnet-control": {"tnet-peer", "tnet-store", "tnet-fileinfo"},
    "tnet-cli": {"tnet-control", "tnet-peer", "tnet-store", "tnet-coordinator", "tnet-fileinfo"},
    "tnet-sim": {"tnet-swarm", "tnet-coordinator", "tnet-proto", "tnet-fileinfo"},
}

# Packages that only test or measure.
TOOLS = {"tnet-testkit", "tnet-micro", "tnet-floor"}

# The core decides and does nothing: no runtime, no sockets, no clock, no log.
NOT_BELOW_THE_CORE = {"tokio", "mio", "socket2", "tracing", "rustix"}

# The store blocks. Of tokio it has the locks that need no runtime.
OF_TOKIO_IN_THE_STORE = {"sync"}


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments], check=True, capture_output=True, text=True
    ).stdout


def wrong_arrows():
    packages = json.loads(cargo("metadata", "--locked", "--no-deps", "--format-version", "1"))["packages"]
    for package in packages:
        name = package["name"]
        if name in TOOLS:
            continue
        if name not in MAY_USE:
            yield f"{name} is not in the table"
            continue
        used = {dependency["name"] for dependency in package["dependencies"] if dependency["kind"] is None}
        for other in sorted(used):
            if other.startswith("tnet-") and other not in MAY_USE[name]:
                yield f"{name} uses {other}"


def below(package):
    """Names and features of everything that a package is built with, as if it were alone."""
    tree = cargo("tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p} {f}")
    for line in tree.splitlines():
        name, _, rest = line.partition(" ")
        features = rest.rpartition(" ")[2] if rest.count(" ") else ""
        yield name, {feature for feature in features.replace("(*)", "").split(",") if feature}


def impure():
    for name, _ in below("tnet-swarm"):
        if name in NOT_BELOW_THE_CORE:
            yield f"tnet-swarm is built with {name}"
    for name, features in below("tnet-store"):
        if name == "tokio" and not features <= OF_TOKIO_IN_THE_STORE:
            yield f"tnet-store is built with tokio's {sorted(features - OF_TOKIO_IN_THE_STORE)}"


def main():
    found = sorted(set(wrong_arrows()) | set(impure()))
    print("\n".join(found) or "every arrow points down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
