"""The front of accuracy against cost: which trials no other beats in both."""

from dirac_keras.pages import COLOURS, headline, new_figure, save_figure, style
from tuning.oracles import COMPLETED

COSTS = {
    "parameters": "parameters",
    "macs": "multiply-accumulates of an image",
    "latency_ms": "milliseconds of a batch",
}


def front(records, cost):
    """The completed trials than which none is both as accurate and as cheap, and better in one: cheapest first.

    Args:
        records: list of dicts with `status`, `score` and the costs.
        cost: key of `COSTS`.

    Returns: list of records. Of several with the same score and cost, the first.
    """
    found = []
    completed = [record for record in records if record["status"] == COMPLETED and record[cost] is not None]
    for record in sorted(completed, key=lambda record: (record[cost], -record["score"])):
        if not found or record["score"] > found[-1]["score"]:
            found.append(record)
    return found


def on_some_front(records):
    """`(record, list of the costs on whose front it is)`, cheapest in parameters first."""
    fronts = {cost: {record["trial"] for record in front(records, cost)} for cost in COSTS}
    rows = []
    for record in sorted(records, key=lambda record: record.get("parameters", 0)):
        costs = [cost for cost, numbers in fronts.items() if record["trial"] in numbers]
        if costs:
            rows.append((record, costs))
    return rows


@style()
def plot_fronts(records, path, title=""):
    """Accuracy against each cost; the area of a circle is the network's parameters.

    Args:
        records: list of dicts; those of failed trials are passed over.
        path: of the PNG.
        title: text.

    Source: circles as in Zagoruyko & Komodakis 2017, arXiv:1706.00388, Fig. 1.
    """
    from matplotlib.ticker import EngFormatter, FormatStrFormatter, LogLocator, NullFormatter

    completed = [record for record in records if record["status"] == COMPLETED]
    figure, axes = new_figure(16, 5.2, columns=len(COSTS))
    largest = max((record["parameters"] for record in completed), default=1)
    epochs = sorted({record["epochs"] for record in completed})
    for axis, (cost, name) in zip(axes, COSTS.items(), strict=True):
        points = None
        for record in (r for r in completed if r[cost] is not None):
            points = axis.scatter(
                record[cost],
                record["score"],
                s=20 + 480 * record["parameters"] / largest,
                c=[record["epochs"]],
                vmin=epochs[0],
                vmax=max(epochs[-1], epochs[0] + 1),
                cmap="viridis",
                alpha=0.55,
                edgecolors="black",
                linewidths=0.5,
            )
        best = front(completed, cost)
        axis.step([r[cost] for r in best], [r["score"] for r in best], where="post", color=COLOURS[1], linewidth=1.2)
        for record in best:
            axis.annotate(str(record["trial"]), (record[cost], record["score"]), ha="center", va="center", fontsize=7)
        axis.set(xlabel=name, ylabel="validation accuracy", title=f"Accuracy against {name}")
        costs = [record[cost] for record in completed if record[cost] is not None]
        if costs and max(costs) > 3 * min(costs):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g") if cost == "latency_ms" else EngFormatter(sep=""))
        axis.grid(which="both")
    if points is not None and len(epochs) > 1:
        figure.colorbar(points, ax=axis, label="epochs", ticks=epochs)
    headline(figure, f"{title}line: the front; number: trial; area: parameters, the largest {largest:,}")
    save_figure(figure, path)
