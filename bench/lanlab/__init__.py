"""A shaped LAN on one machine, to measure how long tools take to bring one file to all of its hosts."""
