"""Signs as geth's clef does (its external API over HTTP), without asking anybody.

usage: clef.py KEY OTHER_KEY
Prints its URL. A transaction of 1 wei is denied, one of 2 wei is signed with the other key.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from eth_account import Account
from eth_account.messages import encode_defunct

own, other = (Account.from_key(key) for key in sys.argv[1:])


def sign_transaction(fields):
    value = int(fields["value"], 16)
    if value == 1:
        raise PermissionError("Request denied")
    signer = other if value == 2 else own
    fields = {name: field for name, field in fields.items() if name != "from"}
    return {"raw": "0x" + bytes(signer.sign_transaction(fields).raw_transaction).hex(), "tx": {}}


def sign_data(kind, address, data):
    assert (kind, address.lower()) == ("text/plain", own.address.lower()), (kind, address)
    return "0x" + bytes(own.sign_message(encode_defunct(hexstr=data)).signature).hex()


METHODS = {
    "account_version": lambda: "6.1.0",
    "account_list": lambda: [own.address],
    "account_signTransaction": sign_transaction,
    "account_signData": sign_data,
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = METHODS[request["method"]](*request["params"])
        except PermissionError as error:
            answer["error"] = {"code": -32000, "message": str(error)}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
