"""A table of several figures of each network, the paper's beside ours."""

from dirac_keras.experiments.metrics import METRICS, figure_text, measure_run
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
            theirs = "" if paper is None else figure_text(METRICS[name], paper, run.paper_deviation.get(name))
            cells += [_ours(name, values), theirs]
        lines.append(f"| {run.title} | {' | '.join(cells)} | {len(directories)} |")
    return lines


def _ours(name, values):
    if not values:
        return ""
    mean, deviation = mean_and_deviation(values)
    return figure_text(METRICS[name], mean, deviation or None)  # that of the parameters is 0
