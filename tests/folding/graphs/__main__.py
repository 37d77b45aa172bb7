"""`python -m tests.folding.graphs`: a campaign of random graphs, counted by outcome."""

import argparse
import collections
import os
import sys
import time
import warnings


def main():
    parser = argparse.ArgumentParser(description="Fold random graphs and count what becomes of them.")
    parser.add_argument("--graphs", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first graph; the next has the next")
    parser.add_argument("--backend", choices=["tensorflow", "jax"], help="default: Keras' own choice")
    parser.add_argument("--export-every", type=int, default=20, help="export each n-th as a SavedModel; 0: none")
    parser.add_argument("--show", action="store_true", help="print summaries and reports too")
    arguments = parser.parse_args()
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # the twins that judge rounding compute in float64
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    counts, failing, started = collections.Counter(), 0, time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.graphs):
        outcome = _outcome(seed, arguments)
        counts.update(outcome.kinds)
        failing += bool(outcome.failures)
        for kind, text in outcome.failures.items():
            print(f"seed {seed}: {kind}: {text}", flush=True)
    seconds = time.perf_counter() - started
    print(f"\n{arguments.graphs} graphs, {failing} with failures, {seconds / arguments.graphs:.2f} s each")
    for kind, count in counts.most_common():
        print(f"{count:6d}  {kind}")
    return 1 if failing else 0


def _outcome(seed, arguments):
    import keras

    from tests.folding.graphs.build import from_seed
    from tests.folding.graphs.check import Outcome, check

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    try:
        graph = from_seed(seed)
    except Exception as error:
        return Outcome(failures={"no graph": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
    if arguments.show:
        graph.model.summary(expand_nested=True, line_length=140)
    outcome = check(graph, with_export=bool(arguments.export_every) and seed % arguments.export_every == 0)
    if arguments.show:
        print(graph.policy, outcome.report)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
