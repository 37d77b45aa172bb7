"""The form of a TFRecord file, and what is said of a record that cannot be read.

A record is its length (8 bytes), a checksum of the length (4), the data, and a checksum of the data (4).
"""

HEADER, FOOTER = 12, 4  # bytes before and after a record's data
WRONG_CHECKSUM, TRUNCATED = "its checksum is wrong", "it is truncated"


def damaged_record(path: str, start: int) -> str:
    """The message of a run that meets a damaged record in the middle of its training."""
    return (
        f"data_record: {path}: the record at byte {start} is damaged: its checksum is wrong. Get the data again, or "
        'leave damaged records out with `on_broken="skip"`.'
    )
