"""One libtorrent session, for measurements: seed or fetch over plain TCP.

usage: peer.py seed FILE TORRENT PORT-FILE    serves FILE until it is killed
       peer.py get  DIR  TORRENT PORT         fetches into DIR, prints the seconds
"""
import os
import sys
import time

import libtorrent as lt


def session():
    return lt.session({
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        "out_enc_policy": 2,  # pe_disabled: plaintext
        "in_enc_policy": 2,
        "alert_mask": 0,
    })


def seed(path, torrent, port_file):
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, path.rsplit("/", 1)[0])
    with open(torrent, "wb") as f:
        f.write(lt.bencode(made.generate()))
    s = session()
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = path.rsplit("/", 1)[0]
    params.flags |= lt.torrent_flags.seed_mode
    s.add_torrent(params)
    while s.listen_port() == 0:
        time.sleep(0.01)
    with open(port_file + ".part", "w") as f:
        f.write(str(s.listen_port()))
    os.rename(port_file + ".part", port_file)
    while True:
        time.sleep(3600)


def get(directory, torrent, port):
    s = session()
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = directory
    h = s.add_torrent(params)
    while not h.status().state == lt.torrent_status.downloading:
        time.sleep(0.005)
    began = time.monotonic()
    h.connect_peer(("127.0.0.1", int(port)))
    while not h.status().is_seeding:
        time.sleep(0.005)
    print(time.monotonic() - began)
    s.pause()


if __name__ == "__main__":
    {"seed": seed, "get": get}[sys.argv[1]](*sys.argv[2:])
