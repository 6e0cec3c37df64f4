"""Sends transactions as a network's users do, and keeps book of what was answered and what was mined.

usage: sender.py URL RATE ACCOUNTS WAYS REPORT

Each transaction is one HTTP request on a connection of its own, so that a Service spreads them over its
pods; the request asks who answers, too. WAYS is `alone` (an account sends again when its transaction is
mined, so that a lost one holds up no other) or `chain` (each account sends on and on, its nonces in
order; the first sends half of all). Only a connection that fails is tried again. The accounts are paid by
the one with the key 0x0101…01. Says `sending` when it begins; at the end of its input it stops, waits
for what was answered to be mined, and writes the book.
"""

import http.client
import json
import os
import queue
import sys
import threading
import time
import urllib.parse

from eth_account import Account

FUNDER = "0x" + "01" * 32
NOWHERE = bytes(19) + b"\xaa"
# Of all accounts together, in wei: the funder has a hundred ether.
PURSE = 40 * 10**18
GWEI = 10**9
CHAIN = 27587
ATTEMPTS_MAX = 60
ANSWER_SECONDS = 10
MINED_SECONDS = 300
# How far back blocks are read.
DEPTH_MAX = 200
WORKERS = 24


class Book:
    """Everything that was sent."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rows = {}
        self.mined = {}
        self.errors = {}
        self.requests = 0
        self.failures = []
        self.heights = []

    def on_request(self, error=None):
        with self.lock:
            self.requests += 1
            if error:
                self.failures.append((time.time(), error))


class Network:
    """What is asked over HTTP."""

    def __init__(self, url, book):
        self.host = urllib.parse.urlsplit(url)
        self.book = book

    def batch(self, calls):
        """The answers, and nothing else: whatever goes wrong with the connection is raised."""
        body = json.dumps([{"jsonrpc": "2.0", "id": place, "method": method, "params": params}
                           for place, (method, params) in enumerate(calls)])
        connection = http.client.HTTPConnection(self.host.hostname, self.host.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", "/", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"status {answer.status}: {text[:100]!r}")
        return sorted(json.loads(text), key=lambda part: part["id"])

    def counted(self, calls):
        try:
            answers = self.batch(calls)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.book.on_request(f"{type(error).__name__}: {error}")
            raise
        self.book.on_request()
        return answers

    def result(self, method, *params):
        """The result, or None where nobody has one."""
        try:
            return self.batch([(method, list(params))])[0].get("result")
        except (OSError, http.client.HTTPException, ValueError):
            return None


class Sender:
    """An account that sends."""

    def __init__(self, number):
        self.account = Account.from_key((10**6 + number).to_bytes(32, "big"))
        self.nonce = 0
        self.idle = True

    def signed(self):
        transaction = {"nonce": self.nonce, "to": NOWHERE, "value": 1, "gas": 21000, "gasPrice": 2 * GWEI, "chainId": CHAIN}
        return sign(transaction, self.account.key)


def sign(transaction, key):
    signed = Account.sign_transaction(transaction, key)
    return "0x" + signed.raw_transaction.hex().removeprefix("0x"), "0x" + signed.hash.hex().removeprefix("0x")


def send(network, raw, expected):
    """Who answered, the error if it refused, and how many connections failed before."""
    for failed in range(ATTEMPTS_MAX):
        try:
            sent, client = network.counted([("eth_sendRawTransaction", [raw]), ("web3_clientVersion", [])])
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.1)
            continue
        client = client.get("result", "?")
        if sent.get("result") == expected:
            return client, None, failed
        error = sent.get("error", {}).get("message", str(sent))
        # What an answer that never came had already taken.
        known = any(word in error for word in ("already known", "known transaction", "nonce too low"))
        return client, None if failed and known else error, failed
    return "?", "nobody answers", ATTEMPTS_MAX


def fund(network, senders):
    funder = Account.from_key(FUNDER)
    nonce = int(network.result("eth_getTransactionCount", funder.address, "latest"), 16)
    for place, sender in enumerate(senders):
        raw, name = sign({"nonce": nonce + place, "to": sender.account.address, "value": PURSE // len(senders), "gas": 21000,
                          "gasPrice": 2 * GWEI, "chainId": CHAIN}, funder.key)
        while network.result("eth_sendRawTransaction", raw) != name and not network.result("eth_getTransactionByHash", name):
            time.sleep(0.2)
    while not all(int(network.result("eth_getBalance", sender.account.address, "latest") or "0", 16) for sender in senders):
        time.sleep(0.5)


def post(network, book, sender):
    """One transaction of an account; whether it was taken."""
    raw, name = sender.signed()
    began = time.time()
    client, error, failed = send(network, raw, name)
    with book.lock:
        if error is None:
            book.rows[name] = {"sent": began, "answered": time.time(), "client": client, "failed": failed,
                               "from": sender.account.address, "nonce": sender.nonce}
        else:
            book.errors[error] = book.errors.get(error, 0) + 1
    if error is None:
        sender.nonce += 1
    return error is None


def follow(network, book, on_mined, stopped):
    """Notes which transactions are mined, and how high the chain is: from each head back to what was read, as a
    reorganisation puts some into blocks of numbers that were read before."""
    read, top = {}, 0
    while not stopped.is_set():
        block = network.result("eth_getBlockByNumber", "latest", False)
        height = int(block["number"], 16) if block else 0
        if height > top:
            book.heights.append((time.time(), height))
            top = height
        new = {}
        while block and height > max(top - DEPTH_MAX, -1) and read.get(height) != block["hash"]:
            for name in block["transactions"]:
                book.mined.setdefault(name, time.time())
                on_mined(name)
            new[height] = block["hash"]
            block = network.result("eth_getBlockByHash", block["parentHash"], False)
            height -= 1
        # Whoever was asked may have been restarted on the way: then what is missing is read with the next head.
        if block or height < 0:
            read.update(new)
        time.sleep(0.3)


def send_alone(network, book, senders, rate, stopped):
    jobs = queue.Queue(WORKERS)
    waiting = {}

    def work():
        while True:
            sender = jobs.get()
            if sender is None:
                return
            _, name = sender.signed()
            waiting[name] = sender
            if not post(network, book, sender):
                waiting.pop(name, None)
                sender.idle = True

    def on_mined(name):
        sender = waiting.pop(name, None)
        if sender:
            sender.idle = True

    threading.Thread(target=follow, args=(network, book, on_mined, stopped), daemon=True).start()
    workers = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    turn = time.monotonic()
    while not stopped.is_set():
        sender = next((sender for sender in senders if sender.idle), None)
        if sender:
            sender.idle = False
            senders.remove(sender)
            senders.append(sender)
            jobs.put(sender)
        turn = max(turn + 1 / rate, time.monotonic() - 1)
        stopped.wait(max(0, turn - time.monotonic()))
    for _ in workers:
        jobs.put(None)
    for worker in workers:
        worker.join()


def send_chains(network, book, senders, rate, stopped):
    def work(sender, every):
        turn = time.monotonic()
        while not stopped.is_set():
            post(network, book, sender)
            turn = max(turn + every, time.monotonic() - 1)
            stopped.wait(max(0, turn - time.monotonic()))

    threading.Thread(target=follow, args=(network, book, lambda _: None, stopped), daemon=True).start()
    first, others = senders[0], senders[1:]
    plan = [(first, 2 / rate)] + [(sender, 2 * len(others) / rate) for sender in others]
    workers = [threading.Thread(target=work, args=each, daemon=True) for each in plan]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def settle(network, book):
    """Waits for what was answered to be mined."""
    deadline = time.time() + MINED_SECONDS
    # Whatever was seen in a block may have left the chain since: all are asked for.
    missing = set(book.rows)
    while missing and time.time() < deadline:
        names = list(missing)
        for begin in range(0, len(names), 100):
            part = names[begin:begin + 100]
            try:
                answers = network.batch([("eth_getTransactionReceipt", [name]) for name in part])
            except (OSError, http.client.HTTPException, ValueError):
                continue
            found = {name for name, answer in zip(part, answers) if answer.get("result")}
            for name in found:
                book.mined.setdefault(name, time.time())
            missing -= found
        time.sleep(1)
    return missing


def fail(failure):
    """A part that ends must not leave the others going on as if all were well."""
    threading.__excepthook__(failure)
    os._exit(1)


def main():
    threading.excepthook = fail
    url, rate, count, ways, path = sys.argv[1:]
    book = Book()
    network = Network(url, book)
    senders = [Sender(number) for number in range(int(count))]
    for sender in senders:
        sender.nonce = int(network.result("eth_getTransactionCount", sender.account.address, "latest") or "0x0", 16)
    fund(network, senders)
    print("sending", flush=True)
    stopped = threading.Event()
    way = {"alone": send_alone, "chain": send_chains}[ways]
    running = threading.Thread(target=way, args=(network, book, senders, float(rate), stopped))
    running.start()
    sys.stdin.read()
    stopped.set()
    running.join()
    ended = time.time()
    missing = settle(network, book)
    for name, row in book.rows.items():
        row["mined"] = None if name in missing else book.mined.get(name)
    with open(path, "w") as file:
        json.dump({"rows": book.rows, "errors": book.errors, "requests": book.requests, "failures": book.failures,
                   "heights": book.heights, "ended": ended}, file)


if __name__ == "__main__":
    main()
