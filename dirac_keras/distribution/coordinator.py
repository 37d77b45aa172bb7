"""JAX's coordinator as a process of its own; a script, which imports nothing of ours.

In JAX 0.10 the first process has the coordinator in it. When that process dies, JAX aborts all others with a page of
text before they can say a line of their own; it has no option against that. A coordinator that outlives the first
process by some seconds lets them end as they like.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 30


def main(address, processes, heartbeat_seconds):
    """Serve until the process that started this one has gone, and a little longer.

    Args:
        address: `"host:port"` to listen at; processes: int; heartbeat_seconds: int.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # of a terminal or scheduler, to all processes: the first one ends
        signal.signal(number, signal.SIG_IGN)
    from jax._src.lib import _jax as library

    # Recoverable: a process that is gone is no reason to end the others, nor do they wait for each other at the end.
    service = library.get_distributed_runtime_service(
        address, processes, heartbeat_timeout=heartbeat_seconds, recoverable=True
    )
    print("ready", flush=True)
    sys.stdin.buffer.read()
    time.sleep(GRACE_SECONDS)
    del service
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
