#!/usr/bin/env python3
"""Recomputes leg digests and commitments without any of the project's code.

Pure Python with its own SM3 (GB/T 32905). Usage:
check_vectors.py leg-digest.json commitments.json; exit 0 if everything agrees.
"""
import base64
import json
import struct
import sys

M = 0xFFFFFFFF


def rol(x, n):
    n %= 32
    return (x << n | x >> (32 - n)) & M if n else x


def sm3(data):
    v = [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E]
    data += b"\x80" + bytes((55 - len(data)) % 64) + struct.pack(">Q", 8 * len(data))
    for at in range(0, len(data), 64):
        w = list(struct.unpack(">16I", data[at:at + 64]))
        for j in range(16, 68):
            x = w[j - 16] ^ w[j - 9] ^ rol(w[j - 3], 15)
            w.append(x ^ rol(x, 15) ^ rol(x, 23) ^ rol(w[j - 13], 7) ^ w[j - 6])
        a, b, c, d, e, f, g, h = v
        for j in range(64):
            ss1 = rol(rol(a, 12) + e + rol(0x79CC4519 if j < 16 else 0x7A879D8A, j) & M, 7)
            ff, gg = (a ^ b ^ c, e ^ f ^ g) if j < 16 else (a & b | a & c | b & c, e & f | ~e & M & g)
            tt1 = ff + d + (ss1 ^ rol(a, 12)) + (w[j] ^ w[j + 4]) & M
            tt2 = gg + h + ss1 + w[j] & M
            a, b, c, d = tt1, a, rol(b, 9), c
            e, f, g, h = tt2 ^ rol(tt2, 9) ^ rol(tt2, 17), e, rol(f, 19), g
        v = [x ^ y for x, y in zip(v, (a, b, c, d, e, f, g, h))]
    return struct.pack(">8I", *v)


def mac(key, data):
    key = (sm3(key) if len(key) > 64 else key).ljust(64, b"\0")
    return sm3(bytes(b ^ 0x5C for b in key) + sm3(bytes(b ^ 0x36 for b in key) + data))


def u32(n):
    return struct.pack(">I", n)


def put(b):
    return u32(len(b)) + b


def tree(leaves):
    """RFC 6962, 2.1, with SM3."""
    if not leaves:
        return sm3(b"")
    if len(leaves) == 1:
        return sm3(b"\0" + leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sm3(b"\1" + tree(leaves[:k]) + tree(leaves[k:]))


def field(seed, record, name, value):
    salt = mac(seed, b"yizheng-salt-v1\n" + u32(record) + put(name))
    return sm3(b"yizheng-field-v1\n" + salt + u32(record) + put(name) + put(value))


def agree(what, ours, theirs):
    if ours != theirs:
        sys.exit(f"{what}: {ours} here, {theirs} in the vectors")


def legs(v):
    for l in v["legs"]:
        body = b"yizheng-leg-v1\n" + put(l["exchange"].encode()) + put(l["leg"].encode()) + put(bytes.fromhex(l["commitment_hex"]))
        body += put(l["item"].encode()) + put(l["proof"].encode()) + u32(len(l["fields"]))
        body += b"".join(put(f) for f in sorted(f.encode() for f in l["fields"]))
        body += put(l["purpose"].encode()) + put(l["case"].encode()) + put(struct.pack(">Q", l["release"]))
        agree(l["name"], sm3(body).hex(), l["digest_hex"])
        agree(l["name"], base64.urlsafe_b64encode(sm3(body)).decode().rstrip("="), l["digest"])


def commitments(v):
    secret = bytes.fromhex(v["secret_hex"])
    seed = mac(secret, b"yizheng-seed-v1")
    agree("seed", seed.hex(), v["seed_hex"])
    agree("lookup", sm3(b"yizheng-lookup-v1\n" + secret).hex(), v["lookup_hex"])
    leaves, ends = [], [0]
    at = 0
    for i, r in enumerate(v["records"]):
        for name in sorted(r, key=str.encode):
            f = v["fields"][at]
            at += 1
            agree("field", [i, name], [f["record"], f["name"]])
            agree("value of " + name, json.loads(f["value_json"]), r[name])
            leaves.append(field(seed, i, name.encode(), f["value_json"].encode()))
            agree("commitment of " + name, leaves[-1].hex(), f["commitment_hex"])
        ends.append(len(leaves))
    agree("number of fields", at, len(v["fields"]))
    for n, end in enumerate(ends):
        agree("root", tree(leaves[:end]).hex(), v["roots_hex"][str(n)])
    document = lambda file: sm3(b"yizheng-doc-v1\n" + seed + sm3(file)).hex()
    agree("document", document(bytes.fromhex(v["document_hex"])), v["document_digest_hex"])
    agree("blank", document(b""), v["blank_document_digest_hex"])
    for code, want in v["results_hex"].items():
        agree(code, mac(seed, b"yizheng-result-v1\n" + code.encode()).hex(), want)
    agree("manual number", base64.b64encode(sm3(b"yizheng-manual-v1\n" + v["manual_number"].encode())).decode(), v["manual_digest"])


agree("SM3 of abc", sm3(b"abc").hex(), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")
with open(sys.argv[1], encoding="utf-8") as f:
    legs(json.load(f))
with open(sys.argv[2], encoding="utf-8") as f:
    commitments(json.load(f))
print("leg digests and commitments agree")
