"""What becomes of a task whose step raised: try again, come back later, or stop for good."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException

from etl.errors import (
    C360Error,
    ConservationError,
    DeclarationError,
    LakeDamaged,
    LakeTooNew,
    ModelRefused,
    NameRefused,
    QualityError,
    QueryRefused,
    QuotaExhausted,
    RulingRefused,
    SchemaError,
    SettingsError,
    SourceRefused,
    WindowRefused,
)

# Trying again changes nothing about these: somebody has to mend something first.
FINAL: tuple[type[C360Error], ...] = (
    ConservationError,
    DeclarationError,
    LakeDamaged,
    LakeTooNew,
    ModelRefused,
    NameRefused,
    QualityError,
    QueryRefused,
    RulingRefused,
    SchemaError,
    SettingsError,
    SourceRefused,
    WindowRefused,
)


def carried_out(step: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The counts `step` returns, and nothing else: frames and values stay in the lake.

    Raises: AirflowRescheduleException when a quota is spent, so the slot is free until it is not;
    AirflowFailException for what no retry mends; anything else as it came, which Airflow retries.
    """
    try:
        return dict(step())
    except QuotaExhausted as spent:
        raise AirflowRescheduleException(spent.until) from spent
    except FINAL as refused:
        raise AirflowFailException(f"{type(refused).__name__}: {refused}") from None
    except (C360Error, AirflowException):
        raise
    except Exception as error:  # noqa: BLE001 - a defect of ours ends in one line, like everywhere in the house
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            full = "no space left on the device; free some and run again, nothing was half-written"
            raise AirflowFailException(f"LakeFull: {full}") from None
        from etl.run.pipeline import defect

        # The message of a library's error may quote a person's data, and Airflow would log it.
        raise RuntimeError(defect(error)) from None
