"""What `pipelines` says of a data set, once a command."""

import logging

import click

from dirac_keras.cli.speech.telling import told_once

speaker = logging.getLogger("pipelines.datasets")


def read(name):
    with told_once(name):
        speaker.info("table of %s", name)
        speaker.warning("repeats in %s", name)
        speaker.error("broken")


def test_a_data_set_is_told_once_a_command_and_errors_always(caplog):
    with caplog.at_level(logging.INFO, "pipelines"), click.Context(click.Command("export")):
        for name in ("folder:x", "folder:x", "digits"):
            read(name)
        assert logging.getLogger("pipelines").level == logging.INFO
    said = [record.getMessage() for record in caplog.records if record.getMessage() != "broken"]
    assert said == ["table of folder:x", "repeats in folder:x", "table of digits", "repeats in digits"]
    assert caplog.text.count("broken") == 3


def test_the_next_command_of_a_process_tells_it_again(caplog):
    with caplog.at_level(logging.INFO, "pipelines"):
        for _ in range(2):
            with click.Context(click.Command("export")):
                read("folder:x")
        read("folder:x")  # no command
    assert caplog.text.count("table of folder:x") == 3
