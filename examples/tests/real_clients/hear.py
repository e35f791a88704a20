"""Prints what httpx-sse hears from the address that it is given, one event a line; a body is posted."""

import sys

import httpx
import httpx_sse

url, *body = sys.argv[1:]
ask = {"method": "POST", "content": body[0]} if body else {"method": "GET"}
# Without the proxies of the environment.
with httpx.Client(trust_env=False) as client:
    with httpx_sse.connect_sse(client, url=url, **ask) as source:
        for event in source.iter_sse():
            print(event.event, event.data, flush=True)
