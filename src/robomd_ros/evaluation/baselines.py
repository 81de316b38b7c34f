"""What every table sets beside our answers, with the same settings everywhere."""

from __future__ import annotations

from sklearn.ensemble import RandomForestClassifier


def make_forest(seed: int, trees: int = 500) -> RandomForestClassifier:
    """The random forest on factor values: settings that suit hundreds of rollouts of a dozen factors."""
    return RandomForestClassifier(trees, min_samples_leaf=3, max_features=0.4, random_state=seed)
