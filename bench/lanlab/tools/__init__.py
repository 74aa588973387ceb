"""The tools that the lab knows, by name."""

from .base import Account, Bench, Command, Tool
from .tnet import Tnet

TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Tnet,)}

__all__ = ["TOOLS", "Account", "Bench", "Command", "Tool"]
