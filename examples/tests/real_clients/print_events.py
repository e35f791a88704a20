"""Prints the events that httpx-sse receives from a URL, one per line. With a second argument it posts that as the body."""

import sys

import httpx
import httpx_sse

url, *body = sys.argv[1:]
request = {"method": "POST", "content": body[0]} if body else {"method": "GET"}
# `trust_env=False` ignores the proxies of the environment.
with httpx.Client(trust_env=False) as client:
    with httpx_sse.connect_sse(client, url=url, **request) as source:
        for event in source.iter_sse():
            print(event.event, event.data, flush=True)
