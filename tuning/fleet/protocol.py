"""What chief and workers of a search share: addresses, roles, patience."""

import contextlib
import os

import grpc

from dirac_keras.errors import UserError

REACH_SECONDS = 30  # a worker's patience with a chief that does not answer
BEAT_SECONDS = 3  # between a worker's signs of life
LEASE_SECONDS = 60.0  # silence of a worker on another machine until its trial goes to the next


def parse_address(address, argument="address"):
    """`HOST:PORT` as `(host, port)`. Raises: UserError: if it is none; it names the `argument`."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"{argument} must be HOST:PORT, as in 10.0.0.1:8000. Received {argument}={address!r}.")
    return host, int(port)


def reach(address, seconds=REACH_SECONDS):
    """Wait until a chief answers. Raises: UserError: if it does not."""
    channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=seconds)
    except grpc.FutureTimeoutError:
        raise UserError(
            f"No chief answers at {address}, tried for {seconds} s. Start it first, a search with "
            f'`chief="{address}"`, or check whether it has ended.'
        ) from None
    finally:
        channel.close()


@contextlib.contextmanager
def role(address, name):
    """What KerasTuner reads of the environment."""
    host, port = parse_address(address)
    values = {"KERASTUNER_TUNER_ID": name, "KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port)}
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
