"""A table of several figures of each network, the paper's beside ours."""

from dirac_keras.experiments.metrics import METRICS, measure_run
from dirac_keras.experiments.report import by_network, mean_and_deviation


def figures_table(results, names):
    """Markdown lines: a row a network, mean and deviation over its seeds and the paper's number for each figure.

    Args:
        results: `[(Run, RunDirectory), ...]`.
        names: of `metrics.METRICS`.
    """
    heads = [text for name in names for text in (METRICS[name].title, "paper")]
    lines = [f"| network | {' | '.join(heads)} | seeds |", "|---" * (len(heads) + 2) + "|"]
    for run, directories in by_network(results):
        found = [measure_run(directory, names) for directory in directories]
        cells = []
        for name in names:
            values = [one[name] for one in found if one[name] is not None]
            paper = run.paper.get(name)
            cells += [_ours(name, values), "" if paper is None else _number(name, paper)]
        lines.append(f"| {run.title} | {' | '.join(cells)} | {len(directories)} |")
    return lines


def _ours(name, values):
    if not values:
        return ""
    mean, deviation = mean_and_deviation(values)
    spread = "" if not deviation else f" ± {deviation:.{METRICS[name].digits}f}"
    return f"{mean:.{METRICS[name].digits}f}{spread} {METRICS[name].unit}"


def _number(name, value):
    return f"{value:.{METRICS[name].digits}f} {METRICS[name].unit}"
