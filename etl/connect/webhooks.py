"""Requests a webhook received, kept as lines of a file: their signature checked, their body opened into its events.

A line is {received_at, timestamp, signature, body}: when it came, what the sender's two headers said, and the body's
text as it came. The signature is ECDSA over P-256 and SHA-256 of the timestamp followed by the body, in base64, as
SendGrid's event webhook makes it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from etl.connect.body import is_too_deep, records_in
from etl.errors import SourceRefused


def public_key(secret: str, where: str) -> EllipticCurvePublicKey:
    """The sender's key: base64 of its DER form. Raises: SourceRefused, which never shows what was given."""
    try:
        key = load_der_public_key(base64.b64decode("".join(secret.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise SourceRefused(
            f"{where}: the secret is no public key of the curve P-256 in base64; "
            "set the webhook's verification key in C360_SECRET_<SOURCE> or the Airflow connection"
        )
    return key


def opened(lines: Sequence[bytes], key: EllipticCurvePublicKey) -> tuple[list[bytes], list[tuple[bytes, str]]]:
    """The events of the requests that are the sender's, to the byte; and the other requests, each with its reason."""
    events: list[bytes] = []
    rejected: list[tuple[bytes, str]] = []
    for line in lines:
        found = _events(line, key)
        if isinstance(found, str):
            rejected.append((line, found))
        else:
            events += found
    return events, rejected


def _events(line: bytes, key: EllipticCurvePublicKey) -> list[bytes] | str:
    """A request's events, or why there are none: nothing of a body is read before its signature holds."""
    try:
        request = {} if is_too_deep(line) else json.loads(line)
    except (ValueError, RecursionError):
        return "unreadable_json"
    told = request if isinstance(request, dict) else {}
    parts = [part for name in ("timestamp", "body", "signature") if isinstance(part := told.get(name), str)]
    if len(parts) != 3:
        return "bad_signature"
    try:
        timestamp, body = parts[0].encode(), parts[1].encode()
        key.verify(base64.b64decode(parts[2], validate=True), timestamp + body, ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return "bad_signature"
    found = None if is_too_deep(body) else records_in(body, "")
    return "unreadable_json" if found is None else found
