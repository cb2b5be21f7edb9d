"""Which texts of a pool does no mix train on? A share of them, decided by hash, the same in every pool."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

COLUMN = {"document": "text_hash", "rewrite": "source_hash"}  # kind of item -> what decides where it has no cluster


def is_heldout(text_hash: str, share: Fraction) -> bool:
    """Whether a text, or a cluster by its smallest hash, is held out: the hash, hashed again, lies in the lowest
    `share` of the range.

    Depends on the texts alone, so equal texts go together, a text held out of one pool is held out of every pool with
    the same share (and the same clusters), and a larger share holds out what a smaller one did.
    """
    digest = hashlib.blake2b(text_hash.encode(), digest_size=8, person=b"leaven-heldout").digest()
    return int.from_bytes(digest, "big") * share.denominator < share.numerator << 64


def cluster_hashes(duplicates: Path | None) -> tuple[pa.Array, pa.Array] | None:
    """(document ids, hash that decides whether each is held out) of a part, in its order; None where there is none."""
    if duplicates is None:
        return None
    rows = pq.read_table(duplicates, columns=["document_id", "text_hash"], filters=[("method", "=", "near")])
    return rows["document_id"].combine_chunks(), rows["text_hash"].combine_chunks()


def deciding_hashes(path: Path, item: str, duplicates: Path | None) -> list[str]:
    """The hash that decides whether each row of a part of documents or rewrites is held out, in the part's order.

    `duplicates` are those of the same part of the documents: a document goes by its cluster there, and a rewrite goes
    where its document goes. Raises RuntimeError where they are not in the order of the documents.
    """
    owner = "id" if item == "document" else "document_id"
    rows = pq.read_table(path, columns=[owner, COLUMN[item]])
    owners, hashes = rows[owner].to_pylist(), rows[COLUMN[item]].to_pylist()
    found = cluster_hashes(duplicates)
    if found is None:
        return hashes
    documents, of_clusters = (a.to_pylist() for a in found)
    if item == "document" and documents != owners:
        raise RuntimeError(f"{duplicates} is not in the order of {path}")
    clusters = dict(zip(documents, of_clusters))
    return [clusters.get(o, own) for o, own in zip(owners, hashes)]
