"""Foregate and the proxies that people would put in its place, on one machine, in the same minutes. See `__main__.py`."""
