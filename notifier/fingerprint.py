"""A short stand-in for something: the same for the same, and in practice another one for anything else."""

import xxhash

from notifier.model import Snapshot


def fingerprint(*parts: bytes) -> str:
    """Return 16 hex digits."""
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()


def snapshot_print(snapshot: Snapshot) -> str:
    """Return a fingerprint of all that a job is listed with."""
    return fingerprint(snapshot.status.encode(), bytes(snapshot.element))
