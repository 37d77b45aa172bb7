"""The order of a list of runs."""

from dirac_keras.run_folders.reading import Runs

# Name of an order -> (key of a row, whether the largest comes first).
ORDERS = {
    "name": ("path", False),
    "accuracy": ("test", True),
    "time": ("seconds", False),
    "started": ("started", True),
    "epochs": ("epochs_done", True),
    "status": ("status", False),
    "size": ("bytes", True),
}


def sort_runs(rows, order):
    """Rows of runs in one of `ORDERS`; those without the figure come last, equal ones by name.

    A mean absolute error is better the smaller it is, so by "accuracy" it counts downwards.
    """
    key, is_largest_first = ORDERS[order]
    rows = sorted(rows, key=lambda row: row["path"])
    known = [row for row in rows if row[key] is not None]
    if order == "accuracy":
        known.sort(key=lambda row: row["test"] if row["metric"] == "mae" else -row["test"])
    else:
        known.sort(key=lambda row: row[key], reverse=is_largest_first)
    return Runs(known + [row for row in rows if row[key] is None])
