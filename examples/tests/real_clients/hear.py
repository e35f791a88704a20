"""Prints what httpx-sse hears from the address that it is given, one event a line."""

import sys

import httpx
import httpx_sse

# Without the proxies of the environment.
with httpx.Client(trust_env=False) as client:
    with httpx_sse.connect_sse(client, "GET", sys.argv[1]) as source:
        for event in source.iter_sse():
            print(event.event, event.data, flush=True)
