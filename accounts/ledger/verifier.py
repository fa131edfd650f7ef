"""Proves a bundle of Clipledger's books with nothing but Python 3.10 or later: `python3 verify.py bundle.zip KEY`.

A receipt of one clip likewise, and with bundles behind it against them: `python3 verify.py receipt.json KEY books.zip`.

It believes nothing the bundle says of itself. Every entry is hashed again, over the digest of the entry before it; the
deltas must add up to the balances, the draws to the deltas, nothing may be missing at the end, and the signed heads
must be the ones in the chain. Without the public key you were sent, a signature only shows that one key signed
everything; with the signed heads you were mailed, also whoever has that key cannot show you other books than then.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
AFTER = {"available": 0, "held": 1, "captured": 2}
BUCKETS = ("granted", "available", "held", "captured", "expired", "adjusted_out")
OF_GRANT = {"outside": "granted", "remaining": "available"}


def text(row: Any) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def root(y: int, sign: int) -> tuple[int, ...]:
    """Ed25519 as in RFC 8032: the point with this y, in extended coordinates."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        raise ValueError("not a point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def added(p: tuple[int, ...], q: tuple[int, ...]) -> tuple[int, ...]:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n: int, p: tuple[int, ...]) -> tuple[int, ...]:
    total: tuple[int, ...] = (0, 1, 1, 0)
    while n:
        total = added(total, p) if n & 1 else total
        p, n = added(p, p), n >> 1
    return total


def point(data: bytes) -> tuple[int, ...]:
    number = int.from_bytes(data, "little")
    return root(number & (2**255 - 1), number >> 255)


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the Ed25519 signature of the message is that of the public key."""
    if len(key) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    base = root(4 * pow(5, P - 2, P) % P, 0)
    try:
        own, other = point(signature[:32]), point(key)
    except ValueError:
        return False
    left, right = times(scalar, base), added(own, times(int.from_bytes(digest, "little") % L, other))
    same = all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))
    return scalar < L and same


def entries_hold(bundle: zipfile.ZipFile, first: Any) -> dict[int, str]:
    """Walk the chain from the entry before the bundle's first; the digests by number, the last of each."""
    digest, seq, after, digests = first["sha256"], first["seq"], list(first["after"]), {}
    digests[seq] = digest
    for line in bundle.open("entries.jsonl"):
        row = json.loads(line)
        stored = row.pop("sha256")
        moved = dict.fromkeys(BUCKETS, 0)
        for _, source, target, amount in row["draws"]:
            moved[OF_GRANT.get(source, source)] += amount if source == "outside" else -amount
            moved[OF_GRANT.get(target, target)] += amount
        seq, digest = seq + 1, hashlib.sha256((digest + text(row)).encode()).hexdigest()
        after = [value + row["deltas"][BUCKETS.index(name)] for value, name in zip(after, AFTER, strict=True)]
        wrong = [
            name
            for name, good in {
                "number": row["seq"] == seq,
                "digest": stored == digest,
                "balance": row["after"] == after,
                "draws": list(moved.values()) == row["deltas"],
                "sum": row["deltas"][0] == sum(row["deltas"][1:]),
            }.items()
            if not good
        ]
        if wrong:
            sys.exit(f"BROKEN at entry #{row['seq']} ({row['at']}): {', '.join(wrong)}")
        digests[seq] = digest
    return digests


def head_holds(head: Any, wallet: int, digests: dict[int, str], keys: list[str]) -> int:
    """Hold one signed head against the chain; the number of the entry it signs, 0 where that is not in the bundle."""
    at = head["content"]["at"]
    if keys and head["key"] not in keys:
        sys.exit(f"BROKEN: the head of {at} is signed with another key")
    signed = text(head["content"]).encode()
    if not is_signed(bytes.fromhex(head["key"]), signed, bytes.fromhex(head["signature"])):
        sys.exit(f"BROKEN: the head of {at} is not signed with its key")
    for each in head["heads"]:
        if hashlib.sha256(text(each).encode()).hexdigest() not in head["content"]["heads"]:
            sys.exit(f"BROKEN: the head of {at} is not one of those that were signed")
        if each["wallet"] == wallet and min(digests) <= each["seq"] <= max(digests):
            if digests[each["seq"]] != each["sha256"]:
                sys.exit(f"BROKEN: entry #{each['seq']} is not the one signed at {at}")
            return int(each["seq"])
    return 0


def main(path: str, *more: str) -> None:
    keys = [each for each in more if len(each) == 64]
    bundle = zipfile.ZipFile(path)
    signed = bundle.read("about.json")
    about = json.loads(signed)
    key = keys[0] if keys else about["public_key"]
    if not is_signed(bytes.fromhex(key), signed, bytes.fromhex(bundle.read("about.sig").decode())):
        sys.exit("BROKEN: about.json is not signed with this key")
    for name, digest in about["files"].items():
        if hashlib.sha256(bundle.read(name)).hexdigest() != digest:
            sys.exit(f"BROKEN: {name} is not the file that was put in")
    digests = entries_hold(bundle, about["before"])
    if max(digests) != about["last_seq"]:
        sys.exit(f"BROKEN: the last entry is #{max(digests)}, and should be #{about['last_seq']}")
    own = [
        head_holds(json.loads(line), about["wallet"], digests, keys) for line in bundle.open("heads.jsonl")
    ]
    if 0 in own:
        sys.exit("BROKEN: a head in the bundle names an entry that is not in it")
    for name in (each for each in more if len(each) != 64):
        with Path(name).open(encoding="utf-8") as lines:
            own += [
                head_holds(json.loads(line), about["wallet"], digests, keys) for line in lines if line.strip()
            ]
    last = (
        f"signed up to #{max(own)} of #{about['last_seq']}" if any(own) else "none of them signed by a head"
    )
    print(f"WHOLE: {about['team']}, {len(digests) - 1} entries, {last}")
    if not keys:
        print("NOT CHECKED: whose key it is. Give the public key that you were sent as the second argument.")


def receipt(path: str, *more: str) -> None:
    keys = [each for each in more if len(each) == 64]
    signed = json.loads(Path(path).read_text(encoding="utf-8"))
    content, key = signed["receipt"], keys[0] if keys else signed["key"]
    if not is_signed(bytes.fromhex(key), text(content).encode(), bytes.fromhex(signed["signature"])):
        sys.exit("BROKEN: the receipt is not signed with this key, or was changed since")
    digests = {}
    for each in content["entries"]:
        digest = hashlib.sha256((each["previous_sha256"] + text(each["entry"])).encode()).hexdigest()
        if digest != each["sha256"]:
            sys.exit(f"BROKEN at entry #{each['entry']['seq']}: digest")
        digests[each["entry"]["wallet"], each["entry"]["seq"]] = digest
    found = 0
    for name in (each for each in more if len(each) != 64):
        with zipfile.ZipFile(name) as bundle:
            for row in map(json.loads, bundle.open("entries.jsonl")):
                if digests.get((row["wallet"], row["seq"]), row["sha256"]) != row["sha256"]:
                    sys.exit(f"BROKEN: entry #{row['seq']} is not the one in {name}")
                found += (row["wallet"], row["seq"]) in digests
    books = f"{found} of them in the books" if len(more) > len(keys) else "no books to look in"
    print(f"WHOLE: receipt of {content['generation']}, {len(digests)} entries, {books}")
    if not keys:
        print("NOT CHECKED: whose key it is. Give the public key that you were sent as the second argument.")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not (zipfile.is_zipfile(sys.argv[1]) or sys.argv[1].endswith(".json")):
        sys.exit(
            "python3 verify.py BUNDLE.zip [PUBLIC KEY] [FILE OF SIGNED HEADS ...]\n"
            "python3 verify.py RECEIPT.json [PUBLIC KEY] [BUNDLE.zip ...]"
        )
    (main if zipfile.is_zipfile(sys.argv[1]) else receipt)(*sys.argv[1:])
