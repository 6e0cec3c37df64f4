"""Everything that a user of foundry's cast does.

usage: cast_client.py CAST URL WS_URL KEY CHAIN_ID book|london
Prints what went wrong with each check as one line of JSON.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from checks import CONTRACT, LONGEST, NO_LONDON, PAYEE, refused, run, wait

program, url, ws_url, key, chain_id, rules = sys.argv[1:]
GAS_PRICE = "50gwei"
BY_LONDON = ["--gas-price", GAS_PRICE, "--priority-gas-price", "1gwei"]
# Its own fees are for London's rules only.
FEES = [] if rules == "london" else ["--legacy"]
LOGS = ["logs", "--address"]
made = []


def cast(command, *args):
    done = subprocess.run([program, command, "--rpc-url", url, *args], capture_output=True, text=True, timeout=LONGEST)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def send(*args):
    receipt = json.loads(cast("send", "--json", "--private-key", key, "--poll-interval", "1", *args))
    assert receipt["status"] == "0x1", receipt
    return receipt


def connects():
    assert cast("chain-id") == chain_id
    assert "/" in cast("client")


def reads():
    block = json.loads(cast("block", "latest", "--json"))
    assert int(block["number"], 16) <= int(cast("block-number"))
    assert (block.get("baseFeePerGas") is not None) == (rules == "london"), block
    assert int(cast("balance", sender())) > 0
    assert int(cast("gas-price")) >= 10**9
    assert cast("code", sender()) == "0x"


def sender():
    return subprocess.run([program, "wallet", "address", key], capture_output=True, text=True, check=True).stdout.strip()


def sends_with_a_gas_price():
    sent = send(PAYEE, "--value", "1", "--legacy")
    assert sent["type"] == "0x0", sent
    assert json.loads(cast("tx", sent["transactionHash"], "--json"))["chainId"] == hex(int(chain_id))


def sends_with_default_fees():
    if rules == "london":
        assert send(PAYEE, "--value", "1")["type"] == "0x2"
    else:
        refused(lambda: send(PAYEE, "--value", "1"), "eip1559")


def sends_by_londons_rules():
    fields = [PAYEE, "--value", "1", "--gas-limit", "21000", *BY_LONDON]
    if rules == "london":
        assert send(*fields)["type"] == "0x2"
    else:
        refused(lambda: send(*fields), *NO_LONDON)


def deploys():
    made.append(send(*FEES, "--create", CONTRACT["bytecode"])["contractAddress"])
    assert len(cast("code", made[0])) > len("0x")


def calls():
    assert cast("call", made[0], "get()(uint256)") == "42"
    assert int(cast("storage", made[0], "0"), 16) == 42
    assert int(cast("estimate", made[0], "set(uint256)", "43")) > 21000


def explains_a_revert():
    # The book's rules are older than the opcode.
    fail = lambda: cast("call", made[0], "fail()(uint256)")
    refused(fail, "not now" if rules == "london" else "invalid opcode: REVERT")


def sends_two_at_once():
    nonce = int(cast("nonce", sender()))
    fields = ["--private-key", key, "--async", PAYEE, "--value", "1", *FEES]
    sent = [cast("send", "--nonce", str(nonce + more), *fields) for more in (0, 1)]
    for hash in sent:
        assert cast("receipt", hash, "status").startswith(("1", "true"))
    assert int(cast("nonce", sender())) == nonce + 2


def reads_logs():
    sent = send(*FEES, made[0], "set(uint256)", "7")
    (log,) = json.loads(cast(*LOGS, made[0], "--from-block", "0", "--json", "Set(address indexed,uint256)"))
    assert log["transactionHash"] == sent["transactionHash"] and int(log["data"], 16) == 7, log
    assert cast("call", made[0], "get()(uint256)") == "7"


def hears_logs():
    with tempfile.NamedTemporaryFile() as said:
        listen = [program, *LOGS, made[0], "--subscribe", "--rpc-url", ws_url]
        listener = subprocess.Popen(listen, stdout=said, stderr=said)

        def heard():
            # It does not say when it has begun to listen.
            sent = send(*FEES, made[0], "set(uint256)", "8")["transactionHash"]
            return sent in pathlib.Path(said.name).read_text()

        try:
            wait("a log", heard)
        finally:
            listener.kill()
            listener.wait()


run(
    connects,
    reads,
    sends_with_a_gas_price,
    sends_with_default_fees,
    sends_by_londons_rules,
    deploys,
    calls,
    explains_a_revert,
    sends_two_at_once,
    reads_logs,
    hears_logs,
)
