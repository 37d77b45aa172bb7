"""How much each hyperparameter matters: permutation importance in a random forest over the finished trials."""

from tuning.oracles import COMPLETED

FEWEST_TRIALS = 10
REPEATS = 30


def importances(records, seed=0):
    """How much worse a forest predicts the score when one hyperparameter's values are shuffled.

    The epochs that a trial had are a column of their own, so that what Hyperband gave a candidate is not taken for
    the candidate's. A hyperparameter that a family does not have is a value beside the others.

    Args:
        records: list of dicts with `status`, `score`, `epochs` and `values`.
        seed: int.

    Returns: `(rows, fit)`: list of `{"hyperparameter", "importance", "spread"}`, largest first, in units of the
        scores' variance explained; and the share of the variance that the forest explains of trials it has not seen:
        near 0, the rows say nothing. `([], None)` of fewer than ten trials, or if all have one score.
    """
    completed = [record for record in records if record["status"] == COMPLETED]
    if len(completed) < FEWEST_TRIALS or len({record["score"] for record in completed}) == 1:
        return [], None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    names, columns = _columns(completed)
    if not names:
        return [], None
    features = [list(row) for row in zip(*columns, strict=True)]
    scores = [record["score"] for record in completed]
    forest = RandomForestRegressor(300, oob_score=True, bootstrap=True, random_state=seed).fit(features, scores)
    found = permutation_importance(forest, features, scores, n_repeats=REPEATS, random_state=seed)
    rows = [
        {"hyperparameter": name, "importance": float(mean), "spread": float(spread)}
        for name, mean, spread in zip(names, found.importances_mean, found.importances_std, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["importance"]), float(forest.oob_score_)


def _columns(records):
    """Names and numeric columns of what differs between trials; words become their rank in the alphabet."""
    table = [{**_own(record["values"]), "epochs": record["epochs"]} for record in records]
    names, columns = [], []
    for name in dict.fromkeys(name for row in table for name in row):
        values = [row.get(name) for row in table]
        if len({repr(value) for value in values}) < 2:
            continue
        if all(isinstance(value, (int, float)) or value is None for value in values):
            column = [-1.0 if value is None else float(value) for value in values]
        else:
            ranks = {word: rank for rank, word in enumerate(sorted(map(str, values)))}
            column = [float(ranks[str(value)]) for value in values]
        names.append(name)
        columns.append(column)
    return names, columns


def _own(values):
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
