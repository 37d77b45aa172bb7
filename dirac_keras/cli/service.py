"""`dirac-keras data-service`: training batches for other processes."""

import sys
import time

import rich_click as click

from dirac_keras.cli.options import CONTEXT
from dirac_keras.cli.speech.output import say
from dirac_keras.errors import UserError
from dirac_keras.files.amounts import counted
from dirac_keras.files.stderr import quiet_stderr


@click.command("data-service", context_settings=CONTEXT)
@click.option("--port", type=click.IntRange(0, 65535), default=5050, show_default=True, help="Port of the dispatcher.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Number of workers in this process."
)
@click.option("--dispatcher", help="Dispatcher that runs elsewhere, grpc://HOST:PORT. Default: start one here.")
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="Name or address at which other machines reach this one. If it is an address of this machine, connections to "
    "its other addresses are dropped (Linux).",
)
def data_service(port, workers, dispatcher, host):
    """Prepare training batches for other processes, here or on other machines, until interrupted.

    They are what `train --data-service` takes. The connection is neither encrypted nor authenticated: use it only in
    networks that you trust.

    `dirac-keras data-service --port 5050 --workers 2`
    """
    if dispatcher and click.get_current_context().get_parameter_source("port").name == "COMMANDLINE":
        raise UserError(f"`port` is that of a dispatcher here. Received port={port} with `dispatcher`: leave it out.")
    with quiet_stderr():
        from pipelines.service import start_service

    service = start_service(port, workers, dispatcher, host)
    say(
        f"data service at {service.address}, {counted(workers, 'worker')} in this process, {service.reach()}; "
        "interrupt to end"
    )
    sys.stdout.flush()
    while service.servers:
        time.sleep(3600)
