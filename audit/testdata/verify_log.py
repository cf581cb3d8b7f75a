#!/usr/bin/env python3
"""Verifies the directory of a closed audit log: an independent reading of
docs/protocol/audit-log.md, without any of the project's code.

Usage: verify_log.py DIR KEY.pem [RECEIPT...]
Prints one line of JSON with size and root; exit 0 only if everything holds.
"""
import base64
import json
import os
import struct
import sys

from sm import crc32c, sm2_verify, sm3

SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
MAX_BATCH, MAX_ENTRY = 2048, 65535


class Refused(Exception):
    pass


def need(what, ok):
    if not ok:
        raise Refused(what)


def b64(text):
    raw = base64.b64decode(text, validate=True)
    need("base64 in its only spelling", base64.b64encode(raw).decode() == text)
    return raw


class Tree:
    """The roots of the perfect subtrees, from the largest to the smallest, and
    every complete node by level, for the tiles."""

    def __init__(self):
        self.size, self.edge, self.levels = 0, [], {}

    def add(self, leaf):
        level, node, n = 0, leaf, self.size
        self.levels.setdefault(0, []).append(node)
        while n & 1:
            node, level, n = sm3(b"\1" + self.edge.pop() + node), level + 1, n >> 1
            self.levels.setdefault(level, []).append(node)
        self.edge.append(node)
        self.size += 1

    def root(self):
        if not self.edge:
            return sm3(b"")
        node = self.edge[-1]
        for left in reversed(self.edge[:-1]):
            node = sm3(b"\1" + left + node)
        return node


class Key:
    def __init__(self, path):
        text = open(path, encoding="ascii").read()
        lines = text.strip().split("\n")
        need("a PEM public key", lines[0] == "-----BEGIN PUBLIC KEY-----")
        der = base64.b64decode("".join(lines[1:-1]))
        need("an SM2 key", der[:len(SPKI)] == SPKI and der[len(SPKI)] == 4 and len(der) == len(SPKI) + 65)
        self.der = der
        self.id = sm3(der)[:16]
        self.point = int.from_bytes(der[-64:-32], "big"), int.from_bytes(der[-32:], "big")

    def hash(self, origin):
        return sm3(origin.encode() + b"\n\xffsm2-sm3/v1" + self.id)[:4]

    def note(self, data, origin):
        """The text of a note with exactly one signature, of this key."""
        text, _, sigs = data.rpartition(b"\n\n")
        text += b"\n"
        line = sigs.decode().rstrip("\n")
        need("one signature line", sigs.endswith(b"\n") and "\n" not in line)
        dash, name, sig = line.split(" ")
        raw = b64(sig)
        need("signature of the log", dash == "\u2014" and name == origin and raw[:4] == self.hash(origin))
        need("signature", sm2_verify(self.point, text, raw[4:]))
        return text.decode()


def head_text(origin, size, root, us, prev):
    e = lambda h: base64.b64encode(h).decode()
    return f"{origin}\n{size}\n{e(root)}\ntime {us}\nprev {e(prev)}\n"


class Log:
    def __init__(self, dir, key):
        self.dir, self.key = dir, key
        self.tree, self.notes, self.seen = Tree(), {}, set()
        note = self.read("log.json")
        meta = json.loads(note.split(b"\n", 1)[0])
        self.origin, self.segment = meta["origin"], meta["segment"]
        text = key.note(note, self.origin)
        need("log.json of one line", text.count("\n") == 1)
        need("format", meta["format"] == "yizheng-audit/1" and meta["hash"] == "SM3")
        need("the pinned key", meta["keys"] == [{"id": key.id.hex(), "spki": base64.b64encode(key.der).decode()}])
        self.previous = meta.get("previous", "")
        self.prev, self.last, self.ops, self.moved = sm3(note), meta["created"], [], {}
        self.last_head = 0

    def read(self, name):
        self.seen.add(name)
        with open(os.path.join(self.dir, name), "rb") as f:
            return f.read()

    def segments(self):
        names = sorted(n for n in os.listdir(os.path.join(self.dir, "wal")) if n != "next")
        need("a segment", names)
        for name in names:
            need("name of segment " + name, name == f"{self.tree.size:012d}.seg")
            data = self.read("wal/" + name)
            need("length of segment", len(data) == self.segment)
            at = 0
            while at < len(data) and any(data[at:at + 512]):
                at = self.frame(data, at)
            need("zeros behind the last frame", not any(data[at:]))
        need("spare of zeros", self.read("wal/next") == bytes(self.segment))

    def frame(self, data, start):
        h = data[start:start + 28]
        need("header", h[:8] == b"AUB1\1\1\0\0" and struct.unpack(">I", h[24:])[0] == crc32c(h[:24]))
        first, count, length = struct.unpack(">QII", h[8:24])
        need("first index", first == self.tree.size and 1 <= count <= MAX_BATCH)
        at = start + 28
        body = at + length
        for _ in range(count):
            n, = struct.unpack(">I", data[at:at + 4])
            need("length of entry", n <= MAX_ENTRY and at + 4 + n <= body)
            self.entry(data[at + 4:at + 4 + n])
            at += 4 + n
        need("length of body", at == body)
        size, root, us, prev = struct.unpack(">Q32sq32s", data[at:at + 80])
        n, = struct.unpack(">H", data[at + 80:at + 82])
        end = at + 82 + n
        need("checksum", struct.unpack(">I", data[end:end + 4])[0] == crc32c(data[start:end]))
        need("size", size == self.tree.size)
        need("root", root == self.tree.root())
        need("chain of heads", prev == self.prev)
        need("time of head", us > self.last_head and us >= self.last)
        text = head_text(self.origin, size, root, us, prev)
        sig = data[at + 82:end]
        need("signature of head", sm2_verify(self.key.point, text.encode(), sig))
        line = base64.b64encode(self.key.hash(self.origin) + sig).decode()
        self.notes[size] = f"{text}\n\u2014 {self.origin} {line}\n".encode()
        self.prev, self.last_head = sm3(data[at:at + 80]), us
        pad = -(end + 4 - start) % 512
        need("padding", not any(data[end + 4:end + 4 + pad]))
        return end + 4 + pad

    def entry(self, stored):
        lines = stored.split(b"\n")
        need("two lines", len(lines) == 3 and lines[2] == b"" and lines[1][32:33] == b" ")
        salt = bytes.fromhex(lines[1][:32].decode())
        need("salt in lower hex", salt.hex().encode() == lines[1][:32])
        closed = lines[1][33:]
        json.loads(closed)
        o = json.loads(lines[0])
        need("version", o["v"] == 1)
        need("growing time", o["ts"] > self.last)
        need("log.open first and only first", (o["op"] == "log.open") == (self.tree.size == 0))
        need("nothing behind log.close", "log.close" not in self.ops[-1:])
        if o["op"] == "log.open":
            need("link to the shard before", o.get("previous", "") == self.previous)
        for q in o.get("quarantine", []):
            self.moved[q["name"]] = q
        self.last = o["ts"]
        self.ops.append(o["op"])
        self.tree.add(sm3(b"\0" + lines[0] + b"\n" + sm3(salt + closed)))

    def derived(self):
        need("closed in good order", self.ops[-1] in ("log.stop", "log.close"))
        final = self.notes[self.tree.size]
        need("checkpoint", self.read("checkpoint") == final)
        need("heads/last", self.read("heads/last") == final)
        rest, n, size = self.read("checkpoints.log"), 0, 0
        while rest:
            line, _, rest = rest.partition(b"\n")
            length = int(line.split(b" ")[2])
            need("record of checkpoints.log", line == b"checkpoint %d %d" % (n, length))
            note, rest = rest[:length], rest[length:]
            at = int(note.split(b"\n")[1])
            need("checkpoint of a frame", at > size and self.notes.get(at) == note)
            n, size = n + 1, at
        need("last record of checkpoints.log", size == self.tree.size)
        need("empty LOCK", self.read("LOCK") == b"")
        for name, q in self.moved.items():
            data = self.read("quarantine/" + name)
            need("quarantined file", len(data) == q["bytes"] and sm3(data).hex() == q["sm3"])

    def tiles(self):
        for level in range(8):
            nodes = self.tree.levels.get(8 * level, [])
            for first in range(0, len(nodes), 256):
                part = nodes[first:first + 256]
                n = first // 256
                name = f"{n % 1000:03d}"
                while n >= 1000:
                    n //= 1000
                    name = f"x{n % 1000:03d}/{name}"
                name = f"tile/{level}/{name}" + (f".p/{len(part)}" if len(part) < 256 else "")
                need("tile " + name, self.read(name) == b"".join(part))

    def nothing_else(self):
        for base, _, names in os.walk(self.dir):
            for name in names:
                path = os.path.relpath(os.path.join(base, name), self.dir)
                need("foreign file " + path, path in self.seen)

    def receipt(self, text):
        front, _, note = text.partition("\n\n")
        lines = front.split("\n")
        need("form of receipt", lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("extra ") and lines[2].startswith("index "))
        leaf, index, path = b64(lines[1][6:]), int(lines[2][6:]), [b64(p) for p in lines[3:]]
        head = self.key.note(note.encode(), self.origin).split("\n")
        size = int(head[1])
        need("head of the log", self.notes.get(size) == note.encode())
        need("leaf of the log", index < size and self.tree.levels[0][index] == leaf)
        node, at, last = leaf, index, size - 1  # RFC 9162 section 2.1.3.2
        for p in path:
            need("length of path", last)
            if at & 1 or at == last:
                node = sm3(b"\1" + p + node)
                while not at & 1 and at:
                    at, last = at >> 1, last >> 1
            else:
                node = sm3(b"\1" + node + p)
            at, last = at >> 1, last >> 1
        need("path to the root", last == 0 and base64.b64encode(node).decode() == head[2])


def main(dir, key, *receipts):
    try:
        log = Log(dir, Key(key))
        log.segments()
        log.derived()
        log.tiles()
        log.nothing_else()
        for path in receipts:
            log.receipt(open(path, encoding="utf-8").read())
    except (Refused, KeyError, IndexError, ValueError, TypeError, OSError, struct.error) as e:
        sys.exit(f"refused: {type(e).__name__}: {e}")
    print(json.dumps({"origin": log.origin, "size": log.tree.size, "root": base64.b64encode(log.tree.root()).decode()}))


main(*sys.argv[1:])
