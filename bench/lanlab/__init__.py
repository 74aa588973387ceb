"""A shaped LAN on one machine, and what tools need to bring one file to all of its hosts."""
