"""Dask lifts a function of one piece over all pieces: the one place that says where pieces are computed.

In one process the pieces go one after the other, and each has all cores: Polars and Arrow are parallel inside. Two
pieces at once on threads would be no faster where Python reads payloads, and can lock each other out for good: one
waits in Polars' pool holding the interpreter, the other waits for the interpreter inside that pool.

Where a scheduler is named, the same pieces go to its workers. They must see the lake under the same path and run the
same program: a worker that does not is refused before it computes anything. Keys and certificates are Dask's own
settings (`distributed.comm.tls`). A worker that dies has its pieces computed again elsewhere; nothing a piece does is
visible before the one who asked commits it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import dask

from etl.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

Piece = TypeVar("Piece")
Result = TypeVar("Result")

#: Seconds to wait for a scheduler, and for a first worker. A cluster that scales from nothing needs longer to start
#: than to answer.
CONNECT_SECONDS = 30
WORKERS_SECONDS = 120


def over(
    function: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    *,
    name: str = "piece",
    scheduler: str = "",
    ground: Callable[[], str] = str,
    undo: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """`function` of every piece, in the order of the pieces. The first exception of a piece ends it all.

    `name` is what Dask's dashboard calls the pieces. `scheduler` is an address; empty: in this process. `ground` says
    what a result depends on beside its piece (the program, the lake) and must say the same there as here. `undo` is
    called, when it ends so, with every result there is; not with what a worker makes after that.

    Raises: ClusterError when the cluster cannot be reached, has no workers, stands on other ground or gave up.
    """
    if not scheduler:
        return _here(function, pieces, undo)
    with _cluster(scheduler) as client:
        return _computed(client, partial(_on, ground, ground(), function), pieces, name, undo)


def _here(function: Callable[[Piece], Result], pieces: Sequence[Piece], undo: Callable[[Result], None]) -> list[Result]:
    made: list[Result] = []

    def kept(piece: Piece) -> Result:
        made.append(function(piece))
        return made[-1]

    # By names of their own no two are taken for the same call: a piece writes files. And the order is always the same.
    tasks = [dask.delayed(kept)(piece, dask_key_name=f"piece-{at:09d}") for at, piece in enumerate(pieces)]
    try:
        return list(dask.compute(*tasks, scheduler="synchronous"))
    except BaseException:
        for result in made:
            undo(result)
        raise


def _on(ground: Callable[[], str], expected: str, function: Callable[[Piece], Result], piece: Piece) -> Result:
    """`function` of `piece`, on a worker that stands on the ground it was sent from."""
    found = ground()
    if found != expected:
        raise ClusterError(
            f"a Dask worker stands on other ground: expected {expected}, came {found}; give every worker the same "
            "version of this program and the lake under the same path"
        )
    return function(piece)


@contextmanager
def _cluster(scheduler: str) -> Iterator[Client]:
    """A client with at least one worker behind it. Raises: ClusterError."""
    from distributed import Client

    # Its own words about lost connections name tasks and addresses; ours say what to do.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as problem:
        raise ClusterError(
            f"no Dask scheduler answers at {scheduler} ({type(problem).__name__}); start it, or check the address and, "
            "for tls, Dask's distributed.comm.tls settings"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except (TimeoutError, OSError):
            raise ClusterError(
                f"the Dask scheduler at {scheduler} had no worker for {WORKERS_SECONDS} s; start one"
            ) from None
        yield client


def _computed(
    client: Client,
    function: Callable[[Piece], Result],
    pieces: Sequence[Piece],
    name: str,
    undo: Callable[[Result], None],
) -> list[Result]:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        futures = client.map(function, pieces, key=name, pure=False)
        try:
            return list(client.gather(futures))
        except Exception:
            for result in client.gather([future for future in futures if future.status == "finished"], errors="skip"):
                undo(result)
            raise
    except KilledWorker:
        raise ClusterError(
            "the Dask workers died each time they computed this piece, most often for want of memory; give them more, "
            "or look into their logs"
        ) from None
    except (CancelledError, CommClosedError, OSError, TimeoutError) as problem:
        raise ClusterError(
            f"the Dask scheduler went away in the middle ({type(problem).__name__}); nothing was published, run again"
        ) from None
