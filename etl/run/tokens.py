"""Refresh tokens that a source gives out anew with every access token (RFC 6749 6), kept between runs.

The newest one is used in place of the one that was configured: that one is spent. A configured token that changed was
given by somebody who authorised again, and is used from then on. A file per source, for its owner's eyes only.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etl.errors import SettingsError
from etl.run.whole import write_whole


@dataclass(frozen=True, slots=True)
class RefreshTokens:
    """The refresh token of one source, in the file `path`; shows nothing of it."""

    path: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else of this machine renews meanwhile: of two that spend one token, the second is refused.

        Raises: SettingsError when the state folder cannot be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self.path.with_suffix(".lock").open("a")
        except OSError as error:
            raise self._unusable(error) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def newest(self, configured: str) -> str:
        """The token that counts now; the configured one where none came after it."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            is_of_this = hmac.compare_digest(kept["of"], _fingerprint(configured, kept["salt"]))
            return str(kept["refresh_token"]) if is_of_this else configured
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return configured
        except OSError as error:
            raise self._unusable(error) from None

    def keep(self, configured: str, newest: str) -> None:
        """Put the newest token in place of the one before.

        Raises: SettingsError when the state folder cannot be used.
        """
        salt = secrets.token_hex(16)
        kept = {"of": _fingerprint(configured, salt), "salt": salt, "refresh_token": newest}
        try:
            write_whole(self.path, json.dumps(kept), is_secret=True)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> SettingsError:
        return SettingsError(
            f"the refresh token of {self.path.stem} cannot be kept in the state folder: {error.strerror}; "
            "set lakehouse.home or C360_HOME, then authorise again, since the token before is spent"
        )


def _fingerprint(configured: str, salt: str) -> str:
    """Tells one configured token from another, and nothing of either."""
    return hashlib.sha256(f"{salt}:{configured}".encode()).hexdigest()
