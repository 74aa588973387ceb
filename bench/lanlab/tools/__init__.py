"""The tools that the lab knows, by name."""

from .aria2 import Aria2
from .base import Account, Bench, Command, StartError, Tool
from .floor import Floor
from .iperf3 import Iperf3
from .libtorrent import Libtorrent
from .nginx import Nginx
from .rqbit import Rqbit
from .rsync import Rsync, RsyncByTimes
from .tar import Tar
from .tnet import Tnet
from .transmission import Transmission

TOOLS: dict[str, type[Tool]] = {
    tool.name: tool
    for tool in (Tnet, Libtorrent, Aria2, Rqbit, Transmission, Nginx, Iperf3, Floor, Rsync, RsyncByTimes, Tar)
}

__all__ = ["TOOLS", "Account", "Bench", "Command", "StartError", "Tool"]
