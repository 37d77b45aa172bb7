"""A test part drawn from data that come without one: the same on every call, whatever the user's seed."""

from __future__ import annotations

import numpy as np

from pipelines.examples import CLASSES, LABELS
from pipelines.printable import counted

# A test split or a subset of ours does not follow the user's seed: runs with different seeds stay comparable.
FIXED_SEED = 20170604
TEST_FRACTION = 0.2


def draw_test(labels: np.ndarray, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test examples, both in order.

    A fifth of every class. Of labels, a fifth of every combination that comes twice or more, and of the others
    together; what alone has some label is trained on. Of values, a fifth of all.

    Args:
        labels: as `Examples` has them.
        task: one of `TASKS`.
    """
    if task == CLASSES:
        return stratified_test(labels)
    if task == LABELS:
        train, test = stratified_test(_combinations(labels))
        never = (labels[train].sum(0) == 0) & (labels[test].sum(0) > 0)
        alone = labels[test][:, never].any(1)
        return np.sort(np.concatenate([train, test[alone]])), test[~alone]
    order = np.random.default_rng(FIXED_SEED).permutation(len(labels))
    count = min(max(1, round(TEST_FRACTION * len(labels))), len(labels) - 1)
    return np.sort(order[count:]), np.sort(order[:count])


def stratified_test(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split positions into train and test, `TEST_FRACTION` of every class for test; the same on every call.

    A class of one example stays in train. Not scikit-learn's `train_test_split(stratify=labels)`, which refuses such a
    class and would choose other images, so that figures published with these would no longer compare.
    """
    generator = np.random.default_rng(FIXED_SEED)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(TEST_FRACTION * len(members))), len(members) - 1)
        chosen[members[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def few(labels: np.ndarray, task: str) -> str:
    """What a message says of labels that no test part can be drawn from."""
    if task != CLASSES:
        return f"{len(labels):,} of them"
    count = len(np.unique(labels))
    values = (
        ', or give `task="values"` if they are numbers' if count > 2 else ""
    )  # a table of values, each of them once
    return f"{counted(count, 'class', 'classes')} with one image each{values}"


def _combinations(labels: np.ndarray) -> np.ndarray:
    """A number for each row's combination of labels; those that come once share one."""
    _, groups, counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    groups = groups.reshape(-1)
    return np.where(counts[groups] == 1, len(counts), groups)
