"""What a client shows to be let in: secrets that stand, and access tokens that run out and are renewed.

A secret that has parts is a JSON object: {"client_id", "client_secret", "refresh_token"} (RFC 6749 6),
{"client_id", "client_secret"} (RFC 6749 4.4), a Google key file with "client_email" and "private_key" (RFC 7523),
or {"token", ...} where a plain token has extra secret headers beside it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from etl.connect.page import Connection
from etl.errors import SourceRefused
from etl.model import Auth

#: So long before its end a token is renewed: a request under way must not outlive it.
EARLY = timedelta(seconds=60)
#: Parts shorter than this are no secrets, and masking them would mangle every message.
_SHORT = 4

_PARTS: Mapping[str, tuple[str, ...]] = {
    "oauth2_refresh": ("client_id", "client_secret", "refresh_token"),
    "oauth2_client": ("client_id", "client_secret"),
    "service_account": ("client_email", "private_key"),
}


class Credentials:
    """The secret of one client in the forms its scheme asks for; shows nothing of it.

    Raises: SourceRefused when a secret is needed and missing, or is not of the scheme's form.
    """

    def __init__(self, auth: Auth, connection: Connection, where: str) -> None:
        self._auth = auth
        self._where = where
        self._base_url = connection.base_url
        self._whole = "" if auth.scheme == "none" and not auth.extra_headers else connection.secret
        self._token = ""
        self._until: datetime | None = None
        self._tokens = connection.tokens
        needed = auth.scheme != "none" or bool(auth.extra_headers)
        if needed and not self._whole:
            raise SourceRefused(
                f"{where}: no secret; set C360_SECRET_<SOURCE> or the password of its Airflow connection"
            )
        self._parts = self._parsed() if auth.is_renewed or auth.extra_headers else {}
        self._configured = self._parts.get("refresh_token", "")
        if not auth.is_renewed and auth.scheme != "none":
            self._token = self._parts.get("token", self._whole) if auth.extra_headers else self._whole
        for text in (self._token, *(self._parts[key] for key in auth.extra_headers.values())):
            if not text.isprintable() or not text.isascii():
                raise SourceRefused(f"{where}: the secret holds characters no header can carry; copy it again")

    def _parsed(self) -> dict[str, str]:
        try:
            parts = json.loads(self._whole)
        except (ValueError, RecursionError):
            parts = None
        first = () if self._auth.scheme == "none" else ("token",)
        expected = (*_PARTS.get(self._auth.scheme, first), *self._auth.extra_headers.values())
        missing = [key for key in expected if not isinstance(parts, dict) or not isinstance(parts.get(key), str)]
        if missing or not isinstance(parts, dict):
            raise SourceRefused(
                f"{self._where}: the secret lacks {', '.join(missing)}; expected JSON with {', '.join(expected)}"
            )
        return {str(key): value for key, value in parts.items() if isinstance(value, str)}

    # --- what every request carries -----------------------------------------------------------------------------------

    @property
    def headers(self) -> dict[str, str]:
        """The secret headers of a request."""
        auth = self._auth
        extra = {name: self._parts[key] for name, key in auth.extra_headers.items()}
        if auth.scheme in {"none", "query", "form"}:
            return extra
        if auth.scheme == "basic":
            return {auth.header: "Basic " + self._basic, **extra}
        prefix = auth.prefix if auth.scheme == "header" else "Bearer "
        return {auth.header: prefix + self._token, **extra}

    @property
    def query(self) -> dict[str, str]:
        """The secret parameters of a request's address."""
        return {self._auth.param: self._token} if self._auth.scheme == "query" else {}

    @property
    def form(self) -> dict[str, str]:
        """The secret fields of a request's form."""
        return {self._auth.param: self._token} if self._auth.scheme == "form" else {}

    @property
    def _basic(self) -> str:
        return base64.b64encode((self._auth.prefix + self._token).encode()).decode()

    @property
    def words(self) -> tuple[str, ...]:
        """What must never be in a message, longest first."""
        known = {self._whole, self._token, self._configured, *self._parts.values()}
        if self._auth.scheme == "basic":
            known |= {self._basic, *self._token.split(":", 1)}
        kept = {self._whole} | {word for word in known if len(word) >= _SHORT}
        return tuple(sorted(kept - {""}, key=len, reverse=True))

    # --- tokens that run out ------------------------------------------------------------------------------------------

    def must_renew(self, now: datetime) -> bool:
        """True when there is no access token yet, or not for much longer."""
        return self._auth.is_renewed and (not self._token or (self._until is not None and now >= self._until))

    def forget(self) -> bool:
        """Give up an access token that was not taken; False when the scheme has no other."""
        self._token = "" if self._auth.is_renewed else self._token
        return self._auth.is_renewed

    @property
    def token_url(self) -> str:
        """Where access tokens are given out: its own address, or a path of the source's."""
        url = self._auth.token_url or self._parts.get("token_uri", "")
        return self._base_url.rstrip("/") + url if url.startswith("/") else url

    def alone(self) -> AbstractContextManager[object]:
        """From a grant to its answer: a refresh token may be good for one use only."""
        if self._tokens is None or self._auth.scheme != "oauth2_refresh":
            return nullcontext()
        return self._tokens.alone()

    def grant(self, now: datetime) -> dict[str, str]:
        """The form that asks for an access token."""
        scope = {"scope": " ".join(self._auth.scopes)} if self._auth.scopes else {}
        if self._auth.scheme == "service_account":
            return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": self._assertion(now)}
        grant = {"client_id": self._parts["client_id"], "client_secret": self._parts["client_secret"], **scope}
        if self._auth.scheme == "oauth2_client":
            return {"grant_type": "client_credentials", **grant}
        if self._tokens is not None:
            self._parts["refresh_token"] = self._tokens.newest(self._configured)
        return {"grant_type": "refresh_token", "refresh_token": self._parts["refresh_token"], **grant}

    def _assertion(self, now: datetime) -> str:
        import jwt

        issued = int(now.timestamp())
        claims: dict[str, Any] = {
            "iss": self._parts["client_email"],
            "aud": self.token_url,
            "scope": " ".join(self._auth.scopes),
            "iat": issued,
            "exp": issued + 3600,
        }
        if "subject" in self._parts:
            claims["sub"] = self._parts["subject"]
        key = {"kid": self._parts["private_key_id"]} if "private_key_id" in self._parts else None
        try:
            return jwt.encode(claims, self._parts["private_key"], algorithm="RS256", headers=key)
        except (ValueError, TypeError, jwt.PyJWTError):
            raise SourceRefused(
                f"{self._where}: private_key in the secret is no RSA key; copy the key file again"
            ) from None

    def renewed(self, body: bytes, now: datetime) -> None:
        """Take the access token of an answer. A refresh token that came with it takes the place of the old one, and is
        kept before anything is asked: the old one may be good no more.

        Raises: SourceRefused when there is none.
        """
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        token = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(token, str) or not token or not token.isprintable() or not token.isascii():
            raise SourceRefused(f"{self._where}: the answer of {self.token_url} holds no access_token")
        try:
            lasts: timedelta | None = timedelta(seconds=float(told["expires_in"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            lasts = None
        self._token = token
        # One that lasts less than twice the margin is used for half its life, lest every request renew it.
        self._until = None if lasts is None else now + max(lasts - EARLY, lasts / 2)
        newest = told.get("refresh_token")
        if self._auth.scheme == "oauth2_refresh" and isinstance(newest, str) and newest:
            if self._tokens is not None and newest != self._parts["refresh_token"]:
                self._tokens.keep(self._configured, newest)
            self._parts["refresh_token"] = newest
