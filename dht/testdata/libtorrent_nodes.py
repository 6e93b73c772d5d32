"""Runs a few libtorrent DHT nodes on loopback and obeys lines of JSON on stdin.

usage: libtorrent_nodes.py COUNT IP:PORT
The first output line is ["ready"]. Each command line gets one answer line:
["put", HEX]                      -> target, nodes that stored
["get", TARGET]                   -> content or null
["putm", PRIVATE, PUBLIC, HEX, SALT] -> nodes that stored
["getm", PUBLIC, SALT]            -> content or null, seq
All byte strings are hex. Commands go round the nodes.
"""
import json
import sys
import time

import libtorrent as lt


def session(i, first):
    s = lt.session({
        "listen_interfaces": "127.%d.5.1:6881" % (100 + i),
        "dht_bootstrap_nodes": "",
        "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "dht_block_ratelimit": 100000, "dht_upload_rate_limit": 10000000,
        "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.error_notification,
    })
    s.add_dht_node(first)
    return s


def wait(s, kind, fits, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        s.wait_for_alert(200)
        for a in s.pop_alerts():
            if isinstance(a, kind) and fits(a):
                return a
    return None


def text(item):
    """The binding wraps the value of an item in a dictionary."""
    value = item.get("value") if isinstance(item, dict) else item
    return value.hex() if isinstance(value, bytes) else None


def put(s, content):
    target = s.dht_put_immutable_item(bytes.fromhex(content))
    a = wait(s, lt.dht_put_alert, lambda a: a.target == target)
    return [str(target), a.num_success if a else -1]


def get(s, target):
    t = lt.sha1_hash(bytes.fromhex(target))
    s.dht_get_immutable_item(t)
    a = wait(s, lt.dht_immutable_item_alert, lambda a: a.target == t)
    return [text(a.item) if a else None]


def putm(s, private, public, content, salt):
    s.dht_put_mutable_item(bytes.fromhex(private), bytes.fromhex(public), bytes.fromhex(content), bytes.fromhex(salt))
    a = wait(s, lt.dht_put_alert, lambda a: True)
    return [a.num_success if a else -1]


def getm(s, public, salt):
    s.dht_get_mutable_item(bytes.fromhex(public), bytes.fromhex(salt))
    best = [None, -1]
    end = time.time() + 20
    while time.time() < end:
        a = wait(s, lt.dht_mutable_item_alert, lambda a: True, 1)
        if a is None and best[0] is not None:
            break
        if a is not None and a.seq > best[1] and text(a.item):
            best = [text(a.item), a.seq]
        if a is not None and a.authoritative:
            break
    return best


def main():
    host, port = sys.argv[2].split(":")
    nodes = [session(i, (host, int(port))) for i in range(int(sys.argv[1]))]
    end = time.time() + 20
    while time.time() < end and any(s.status().dht_nodes < 5 for s in nodes):
        time.sleep(0.2)
    print(json.dumps(["ready", [s.status().dht_nodes for s in nodes]]), flush=True)
    verbs = {"put": put, "get": get, "putm": putm, "getm": getm}
    for i, line in enumerate(sys.stdin):
        verb, *args = json.loads(line)
        s = nodes[i % len(nodes)]
        s.pop_alerts()
        print(json.dumps(verbs[verb](s, *args)), flush=True)


main()
