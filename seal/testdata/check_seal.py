#!/usr/bin/env python3
"""Checks a PDF sealed by GB/T 38540-2020 (SES V4) without any code of this project.

    check_seal.py SEALED.pdf [ROOT.crt]

Needs Python 3 (standard library only) and the openssl command, version 3. Cuts the
ByteRange out of the file, reads the DER with the few lines below, and leaves SM3 and
SM2 to OpenSSL. With ROOT.crt (PEM) the certificate chains of signer and seal maker
are checked as well. Prints each step; exit code 0 when all are right, 1 when one is
wrong, 2 when it was called wrongly or openssl is missing.
"""

import datetime
import re
import shutil
import subprocess
import sys
import tempfile

SM2_WITH_SM3 = "1.2.156.10197.1.501"
USER_ID = "1234567812345678"
INTEGER, BITS, OCTETS, OID, UTF8, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x30
IA5, GENERALIZED = 0x16, 0x18


class Wrong(Exception):
    pass


def element(data, at=0):
    """Reads one DER element: tag, content, all of its bytes, where the next begins."""
    if at + 2 > len(data):
        raise Wrong("DER ends too early")
    tag, length, start = data[at], data[at + 1], at + 2
    if length == 0x80 or length > 0x84:
        raise Wrong("length that is not DER")
    if length > 0x80:
        n = length & 0x7F
        octets = data[start:start + n]
        length, start = int.from_bytes(octets, "big"), start + n
        if len(octets) != n or octets[0] == 0 or length < 0x80:
            raise Wrong("length that is not DER")
    end = start + length
    if end > len(data):
        raise Wrong("DER ends too early")
    return tag, data[start:end], data[at:end], end


def elements(content):
    """Reads all elements of a content into a list of (tag, content, all bytes)."""
    out, at = [], 0
    while at < len(content):
        tag, inner, whole, at = element(content, at)
        out.append((tag, inner, whole))
    return out


def expect(item, tag, what):
    if item[0] != tag:
        raise Wrong(f"{what}: tag {item[0]:02x}, expected {tag:02x}")
    return item[1]


def bits(item, what):
    content = expect(item, BITS, what)
    if content[:1] != b"\0":
        raise Wrong(f"{what}: unused bits")
    return content[1:]


def oid(item, what):
    content = expect(item, OID, what)
    arcs, value = [content[0] // 40, content[0] % 40], 0
    for octet in content[1:]:
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(value)
            value = 0
    return ".".join(map(str, arcs))


def openssl(*args, stdin=b""):
    done = subprocess.run(["openssl", *args], input=stdin, capture_output=True, timeout=60)
    return done.returncode == 0, done.stdout, done.stderr


def sm3(data):
    ok, out, err = openssl("dgst", "-sm3", "-binary", stdin=data)
    if not ok or len(out) != 32:
        raise Wrong("openssl cannot compute SM3: " + err.decode(errors="replace").strip())
    return out


def temporary(data):
    f = tempfile.NamedTemporaryFile()
    f.write(data)
    f.flush()
    return f


def verify(cert, message, signature):
    """SM2 with SM3 and the default user id, over message, with a DER certificate."""
    ok, key, err = openssl("x509", "-inform", "DER", "-noout", "-pubkey", stdin=cert)
    if not ok:
        raise Wrong("openssl cannot read the certificate: " + err.decode(errors="replace").strip())
    with temporary(key) as k, temporary(signature) as s:
        ok, _, _ = openssl("dgst", "-sm3", "-verify", k.name, "-sigopt", "distid:" + USER_ID,
                           "-signature", s.name, stdin=message)
    return ok


def chain(cert, root, at):
    ok, pem, _ = openssl("x509", "-inform", "DER", stdin=cert)
    if not ok:
        return False
    with temporary(pem) as c:
        ok, _, _ = openssl("verify", "-vfyopt", "distid:" + USER_ID, "-attime", str(int(at)),
                           "-CAfile", root, c.name)
    return ok


def cut(pdf):
    """Returns the signed bytes and the DER with its padding."""
    found = re.findall(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]", pdf)
    if len(found) != 1:
        raise Wrong(f"{len(found)} ByteRange entries, expected one")
    start, a, b, c = map(int, found[0])
    if start != 0 or not a < b or b + c != len(pdf):
        raise Wrong("the ByteRange does not cover the whole file")
    token = pdf[a:b]
    if not re.fullmatch(rb"<[0-9a-f]+>", token) or len(token) % 2:
        raise Wrong("what the ByteRange leaves out is not a lower-case hexadecimal string")
    if pdf.count(b"%%EOF") != 1:
        raise Wrong("the file has more than one revision")
    return pdf[:a] + pdf[b:], bytes.fromhex(token[1:-1].decode())


def moment(item, what):
    text = expect(item, GENERALIZED, what).decode()
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def check(path, root):
    failed = []

    def step(what, ok):
        print(("ok    " if ok else "WRONG ") + what)
        if not ok:
            failed.append(what)

    with open(path, "rb") as f:
        covered, padded = cut(f.read())
    step("the ByteRange covers the whole file but the signature", True)

    tag, content, whole, end = element(padded)
    step("the signature is one DER SEQUENCE with only zeros behind", tag == SEQUENCE and not any(padded[end:]))
    tbs, cert, algorithm, value = elements(content)[:4]
    version, seal, time, data_hash, property_info = elements(expect(tbs, SEQUENCE, "toSign"))[:5]
    info, maker_cert, seal_algorithm, seal_value = elements(expect(seal, SEQUENCE, "eseal"))[:4]
    header, es_id, prop, picture = elements(expect(info, SEQUENCE, "eSealInfo"))[:4]
    mark, seal_version, _ = elements(expect(header, SEQUENCE, "header"))
    _, name, list_type, certs, created, valid_start, valid_end = elements(expect(prop, SEQUENCE, "property"))
    cert, maker_cert = expect(cert, OCTETS, "cert"), expect(maker_cert, OCTETS, "maker's cert")
    print("      seal: " + expect(name, UTF8, "name").decode() + " / " + expect(es_id, IA5, "esID").decode())
    print("      covers: " + expect(property_info, IA5, "propertyInfo").decode())

    step("mark is ES and both versions are 4", expect(mark, IA5, "ID") == b"ES"
         and expect(version, INTEGER, "version") == expect(seal_version, INTEGER, "seal version") == b"\x04")
    step("both algorithms are SM2 with SM3",
         oid(algorithm, "algorithm") == oid(seal_algorithm, "seal's algorithm") == SM2_WITH_SM3)
    step("dataHash is the SM3 of the covered bytes", bits(data_hash, "dataHash") == sm3(covered))
    step("the signer's SM2 signature fits the raw toSign", verify(cert, tbs[2], bits(value, "signature")))
    step("the maker's SM2 signature fits the raw eSealInfo",
         verify(maker_cert, info[2], bits(seal_value, "seal's signature")))
    listed = [expect(c, OCTETS, "listed cert") for c in elements(expect(certs, SEQUENCE, "certList"))]
    step("the signer's certificate is in the seal's list",
         expect(list_type, INTEGER, "certListType") == b"\x01" and cert in listed)
    at = moment(time, "timeInfo")
    step(f"signed at {at:%Y-%m-%d %H:%M:%S} UTC, within the seal's validity",
         moment(valid_start, "validStart") <= at <= moment(valid_end, "validEnd"))
    if root:
        step("the signer's certificate chains to the root", chain(cert, root, at.timestamp()))
        step("the maker's certificate chains to the root",
             chain(maker_cert, root, moment(created, "createDate").timestamp()))
    return not failed


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    if not shutil.which("openssl"):
        print("the openssl command is missing", file=sys.stderr)
        return 2
    try:
        good = check(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else None)
    except (Wrong, ValueError, IndexError, UnicodeDecodeError) as e:
        print("WRONG " + (str(e) or type(e).__name__))
        good = False
    print("the seal is right" if good else "THE SEAL IS WRONG")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
