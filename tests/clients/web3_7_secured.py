"""A node behind TLS that wants a token or a password, with today's web3.py.

usage: web3_7_secured.py HOST:HTTPPORT HOST:WSPORT CAFILE SECRETFILE USER:PASSWORD
Prints what each way of asking said as one line of JSON.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import sys
import time

import requests
from web3 import AsyncWeb3, Web3, WebSocketProvider

http, ws, authorities, secret, login = sys.argv[1:]
with open(secret, encoding="ascii") as file:
    KEY = bytes.fromhex(file.read().strip().removeprefix("0x"))


def part(data):
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(issued):
    """A token as the clients of geth's engine API make it."""
    signed = part(b'{"typ":"JWT","alg":"HS256"}') + b"." + part(json.dumps({"iat": issued}).encode())
    signature = part(hmac.new(KEY, signed, hashlib.sha256).digest())
    return "Bearer " + (signed + b"." + signature).decode()


def over_http(url, headers):
    """The chain id over HTTPS, or the words of a refusal."""
    kwargs = {"verify": authorities, "headers": {"Content-Type": "application/json", **headers}}
    try:
        return Web3(Web3.HTTPProvider(url, request_kwargs=kwargs)).eth.chain_id
    except requests.HTTPError as error:
        return f"{error.response.status_code} {error.response.text.strip()}"


async def over_ws(headers):
    """The chain id, and a head that was subscribed to or not, over WSS."""
    trust = ssl.create_default_context(cafile=authorities)
    kwargs = {"ssl": trust, "extra_headers": headers}
    async with AsyncWeb3(WebSocketProvider(f"wss://{ws}", websocket_kwargs=kwargs)) as w3:
        subscribed = await w3.eth.subscribe("newHeads")
        return [await w3.eth.chain_id, subscribed.startswith("0x")]


basic = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
now = int(time.time())
print(
    json.dumps(
        {
            "token": over_http(f"https://{http}", {"Authorization": token(now)}),
            "login": over_http(f"https://{login}@{http}", {}),
            "nothing": over_http(f"https://{http}", {}),
            "stale": over_http(f"https://{http}", {"Authorization": token(now - 100)}),
            "ws_token": asyncio.run(over_ws({"Authorization": token(now)})),
            "ws_login": asyncio.run(over_ws(basic)),
        }
    )
)
