"""Our pods are restarted one after the other, thrice, while fifty transactions a second come in (REL-25).

usage: restarts.py [SIGTERM] [kill]: these ways only
"""
import json
import sys
import time

from book import BOOK_ACCOUNTS, addresses
from rollover import DAGS, dags
from testbed import NAMESPACE, Users, figure, kubectl, logs, pods, say, spread, trial, wait
from volumes import TX, WANTED, kill, start

RATE = 50
# One account sends half of all in the order of its nonces.
ACCOUNTS = 11
ROUNDS = 3
NODES = 3
MINED_SECONDS_MAX = 60
SERVED_SHARE_MIN = 0.999


def with_dags():
    """Changes of the manifests: geth's DAG is on the machine, so that no miner is restarted while it makes one."""
    mount, volume = "            - name: account\n              mountPath: /account\n", "        - name: account\n          secret:\n"
    return ((mount, f"            - {{name: dags, mountPath: /data/.ethash, readOnly: true}}\n{mount}"),
            (volume, f"        - {{name: dags, hostPath: {{path: {DAGS}}}}}\n{volume}"))


def prepare():
    dags()
    start((*zip(BOOK_ACCOUNTS, addresses()), *with_dags()))
    kubectl("-n", NAMESPACE, "scale", "statefulset/eth-geth-tx", f"--replicas={NODES}")
    # Users have an address each; the one that stands for them here has one, and asks all nodes all the same.
    kubectl("-n", NAMESPACE, "patch", "service", "eth-geth-tx", "-p", json.dumps({"spec": {"sessionAffinity": "None"}}))
    WANTED["eth-geth-tx"] = NODES
    all_ready()
    for name, _ in pods("eth-geth-miner"):
        wait(f"{name} has loaded its DAG", 600, lambda: "Loaded DAG" in logs(name))


def all_ready():
    wait("all pods are ready", 900, lambda: all(len(pods(app)) == count for app, count in WANTED.items()))


def politely():
    """As an upgrade does it: SIGTERM, and the next pod when the last one is ready."""
    for round in range(ROUNDS):
        began = time.monotonic()
        for app in ("eth-geth-tx", "eth-geth-miner"):
            kubectl("-n", NAMESPACE, "rollout", "restart", f"statefulset/{app}")
            kubectl("-n", NAMESPACE, "rollout", "status", f"statefulset/{app}", "--timeout=900s")
        # Its successor has another address.
        kubectl("-n", NAMESPACE, "delete", "pod", f"eth-bootnode-{round % 2}")
        all_ready()
        say(f"round {round + 1} took {time.monotonic() - began:.0f} s")


def rudely():
    """kill -9, one after the other."""
    for _ in range(ROUNDS):
        for app in ("eth-geth-tx", "eth-geth-miner"):
            for name, _ in pods(app, ready=False):
                kill(name)
                all_ready()


def judge(book, how):
    rows = book["rows"].values()
    assert rows and {row["client"].split("/")[0] for row in rows} == {"Hematite"}
    lost = [name for name, row in book["rows"].items() if row["mined"] is None]
    share = 1 - len(book["failures"]) / book["requests"]
    after = max(row["mined"] for row in rows if row["mined"]) - book["ended"]
    began = min(row["answered"] for row in rows)
    waits = sorted(row["mined"] - row["answered"] for row in rows if row["mined"])
    figure(f"{how}: transactions answered, and lost", f"{len(rows)}, {len(lost)}", "0 lost; geth 1.10: 442 of 1 158")
    figure(f"{how}: the last is mined after the last restart", f"{max(after, 0):.0f} s", "60 s")
    figure(f"{how}: mined after", spread(waits))
    figure(f"{how}: requests served at once", f"{share * 100:.3f} % of {book['requests']}", "99.9 %" if how == "SIGTERM" else "")
    say(f"failed connections: {[(round(at), error) for at, error in book['failures'][:20]]}")
    say(f"refusals: {book['errors']}")
    for row in sorted((row for row in rows if row["mined"]), key=lambda row: row["answered"] - row["mined"])[:5]:
        say(f"slow: {row['from']} nonce {row['nonce']}, answered {row['answered'] - began:.0f} s after the first and mined "
            f"{row['mined'] - row['answered']:.0f} s later")
    assert not lost, f"lost: {lost[:5]}"
    assert after <= MINED_SECONDS_MAX, f"the last was mined after {after:.0f} s"
    assert how != "SIGTERM" or share >= SERVED_SHARE_MIN, f"{share * 100:.3f} % were served"


def rounds(how, restart):
    users = Users(TX, RATE, ACCOUNTS, "chain")
    restart()
    judge(users.stop(), how)


def main():
    ways = {"SIGTERM": lambda: rounds("SIGTERM", politely), "kill": lambda: rounds("kill -9", rudely)}
    chosen = sys.argv[1:] or list(ways)
    trial((prepare, *(ways[way] for way in chosen)), WANTED)


if __name__ == "__main__":
    main()
