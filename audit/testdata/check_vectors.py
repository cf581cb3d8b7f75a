#!/usr/bin/env python3
"""Recomputes the audit log's test vectors without any of the project's code.

Pure Python; see sm.py. Usage: check_vectors.py audit-log.json; exit 0 if everything agrees.
"""
import base64
import json
import struct
import sys

from sm import G, crc32c, hmac_sm3, mul, root, sm2_verify, sm3


def check(what, ok):
    if not ok:
        sys.exit(f"{what} does not agree")


def main(path):
    check("SM3 itself", sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")
    v = json.load(open(path, encoding="utf-8"))
    spki = base64.b64decode(v["spki"])
    pub = int.from_bytes(spki[-64:-32], "big"), int.from_bytes(spki[-32:], "big")
    check("public key", mul(int(v["private_key"], 16), G) == pub)
    check("key id", sm3(spki)[:16].hex() == v["key_id"])
    keyhash = sm3(v["origin"].encode() + b"\n\xffsm2-sm3/v1" + bytes.fromhex(v["key_id"]))[:4]
    check("key hash", int.from_bytes(keyhash, "big") == v["key_hash"])

    def note(text):
        body, sigs = text.rsplit("\n\n", 1)
        dash, name, sig = sigs.rstrip("\n").split(" ")
        sig = base64.b64decode(sig)
        check("note", dash == "\u2014" and name == v["origin"] and sig[:4] == keyhash)
        check("signature", sm2_verify(pub, body.encode() + b"\n", sig[4:]))
        return body.split("\n"), sig[4:]

    note(v["log_json"])
    prev, leaves = sm3(v["log_json"].encode()), []
    check("empty root", root([]).hex() == v["roots"][0])
    for b in v["batches"]:
        first, body = len(leaves), b""
        for e in b["entries"]:
            stored = f'{e["open"]}\n{e["salt"]} {e["closed"]}\n'.encode()
            check("stored entry", stored == e["stored"].encode())
            body += struct.pack(">I", len(stored)) + stored
            leaves.append(sm3(b"\0" + e["open"].encode() + b"\n" + sm3(bytes.fromhex(e["salt"]) + e["closed"].encode())))
            check("leaf", leaves[-1].hex() == e["leaf"])
            check("root", root(leaves).hex() == v["roots"][len(leaves)])
        lines, sig = note(b["checkpoint"])
        us = int(lines[3].removeprefix("time "))
        check("checkpoint", lines[:3] == [v["origin"], str(len(leaves)), base64.b64encode(root(leaves)).decode()])
        check("time", us >= json.loads(b["entries"][-1]["open"])["ts"])
        check("chain", lines[4] == "prev " + base64.b64encode(prev).decode())
        head = struct.pack(">Q", len(leaves)) + root(leaves) + struct.pack(">q", us) + prev
        check("head", head.hex() == b["head_bytes"])
        prev = sm3(head)
        frame = b"AUB1\x01\x01\0\0" + struct.pack(">QII", first, len(leaves) - first, len(body))
        frame += struct.pack(">I", crc32c(frame)) + body + head + struct.pack(">H", len(sig)) + sig
        frame += struct.pack(">I", crc32c(frame))
        check("frame", (frame + bytes(-len(frame) % 512)).hex() == b["frame"])
    lines = v["receipt"].split("\n")
    check("receipt", lines[0] == "c2sp.org/tlog-proof@v1" and base64.b64decode(lines[1][6:]) == leaves[1] and lines[2] == "index 1")
    path = [base64.b64decode(x) for x in lines[3:lines.index("", 3)]]
    check("path", sm3(b"\1" + sm3(b"\1" + path[0] + leaves[1]) + path[1]) == root(leaves))  # entry 1 of 3
    leaf = base64.urlsafe_b64encode(leaves[1]).decode().rstrip("=")
    check("pointer", v["pointer"] == f'{v["origin"]}:1:{leaf}')
    for c in v["pseudonyms"]["cases"]:
        p = hmac_sm3(bytes.fromhex(v["pseudonyms"]["key"]), c["normalised"].encode())[:16]
        check("pseudonym", base64.b64encode(p).decode() == c["p"])
    print(f"{len(leaves)} entries, {len(v['batches'])} frames, {len(v['pseudonyms']['cases'])} pseudonyms agree")


main(sys.argv[1])
