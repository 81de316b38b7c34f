"""Asking: how likely does the policy fail under this?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.answers import (
    MAX_EVIDENCE,
    MAX_QUESTIONS,
    Answer,
    Evidence,
    Quality,
    Question,
    RiskMap,
)
from robomd_ros.core.errors import InvalidArgumentError, NotReadyError, TooLargeError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.probes import ProbeTable
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.learning.embedding import Embedding
from robomd_ros.learning.inputs import Inputs
from robomd_ros.learning.reading import TextReader
from robomd_ros.search.calibration import Calibration, Neighbourhood, Posterior
from robomd_ros.search.familiarity import Familiarity
from robomd_ros.search.known import Floats, KnownSet
from robomd_ros.search.modes import Calibrations, Mode, fit_modes, modes_of
from robomd_ros.search.policy import SearchPolicy
from robomd_ros.search.probed import ProbedPrior
from robomd_ros.search.quality import HeldOut
from robomd_ros.search.risk_map import make_risk_map, rank


class Asker:
    """Answers questions from an embedding, the known rollouts and, where trained, the search policy.

    Never changes after construction, so any number of threads may ask; `with_records` makes a new one.

    Attributes:
        embedding, search, catalogue: what it was made with.
        known: every evidence rollout.
        tried: the different perturbations among them.
        calibrations: what turns logits and neighbours into probabilities.
        quality: figures on the held-out rollouts.
        heldout: the answers behind them; None = too few were held out.
    """

    def __init__(
        self,
        embedding: Embedding,
        records: Sequence[RolloutRecord],
        catalogue: Catalogue,
        search: SearchPolicy | None = None,
        heldout_ids: Iterable[str] | None = None,
        *,
        known: KnownSet | None = None,
        calibrations: Calibrations | None = None,
        probes: ProbeTable | ProbedPrior | None = None,
    ) -> None:
        """Embed the rollouts and calibrate.

        Args:
            embedding: frozen.
            records: rollouts; those that are no evidence are left out.
            catalogue: of the task.
            search: None = densities are NaN.
            heldout_ids: rollouts no model has seen; None = as the embedding says.
            known: rollouts that this embedding has embedded before.
            calibrations: of the same models; None = fitted and measured now.
            probes: what the policy answers when it is asked; of another policy than the rollouts' = none. What was learnt from
                them before is taken as it is.

        Raises:
            NotReadyError: no evidence at all.
        """
        kept = [r for r in records if r.is_evidence]
        if not kept:
            raise NotReadyError("no labelled rollout yet: run and label some first.")
        self.embedding, self.search, self.catalogue = embedding, search, catalogue
        self._perturbations = [r.perturbation for r in kept]
        self.policy_id = Counter(r.policy_id for r in kept).most_common(1)[0][0]
        self.known = embed_rollouts(embedding, kept, catalogue, known)
        self._logits = embedding.failure_logits(self.known.embeddings).astype(np.float64)
        self._rows: dict[str, list[int]] = {}
        for row, pid in enumerate(self.known.perturbation_ids):
            self._rows.setdefault(pid, []).append(row)
        self.tried = [self._perturbations[rows[0]] for rows in self._rows.values()]
        self._familiarity = Familiarity(
            [Perturbation().sentence, *(v.sentence for p in self.tried for v in p.variations)]
        )
        self._factors = {v.factor for p in self.tried for v in p.variations}
        self._reader = TextReader(catalogue)
        self._risk = None
        if embedding.risk is not None:
            vectors = self._vectors(self._perturbations)
            self._risk = embedding.risk.given(*vectors, self.known.failed)
        held_ids = set(embedding.facts.heldout_ids if heldout_ids is None else heldout_ids)
        held = np.array([r.id in held_ids for r in kept])
        self._take_probes(probes, held)
        self.calibrations = calibrations or self._calibrate(kept, held)

    @classmethod
    def from_study(cls, study: Study | str | Path) -> Asker:
        """Open a trained study, read only.

        Raises:
            UnknownIdError: no study there.
            NotReadyError: no embedding is trained, or no rollout is labelled.
            StorageError: a model or the store is damaged.
        """
        opened = study if isinstance(study, Study) else Study.open(study)
        embedding = Embedding.load(opened.models)
        with opened.store(read_only=True) as store:
            records = store.records(evidence_only=True)
        return cls(
            embedding, records, opened.catalogue(), load_search(opened.models, embedding),
            probes=ProbeTable.load(opened.probes),
        )  # fmt: skip

    def with_records(self, records: Sequence[RolloutRecord]) -> Asker:
        """The same models and calibration with other evidence; only new rollouts are embedded."""
        return Asker(
            self.embedding, records, self.catalogue, self.search,
            known=self.known, calibrations=self.calibrations, probes=self._probed or self._table,
        )  # fmt: skip

    @property
    def model_ids(self) -> tuple[str, str]:
        """Ids of the embedding and the search; "" = no search."""
        return self.embedding.id, self.search.id if self.search is not None else ""

    @property
    def quality(self) -> Quality:
        """Figures on the held-out rollouts; NaN where too few were."""
        return self.calibrations.quality

    @property
    def heldout(self) -> HeldOut | None:
        """The answers behind `quality`."""
        return self.calibrations.heldout

    def tally(self, perturbation: Perturbation) -> tuple[int, int]:
        """(rollouts, failures) of exactly this perturbation."""
        rows = self._rows.get(perturbation.id, [])
        return len(rows), int(self.known.failed[rows].sum())

    def doubt(self, perturbations: Sequence[Perturbation]) -> NDArray[np.float64] | None:
        """Covariance of what factor values say of scenes, (N, N): whose outcome tells about whom; None = they say nothing."""
        if self._probed is not None and self._probed.knows(perturbations).all():
            return self._probed_risk.covariance(*self._probed.vectors(perturbations))
        return None if self._risk is None else self._risk.covariance(*self._vectors(perturbations))

    @cached_property
    def probed(self) -> list[Perturbation]:
        """Those about which the policy was asked; none where that taught nothing yet."""
        return self._probed.perturbations if self._probed is not None else []

    def embed(self, questions: Sequence[Question]) -> Floats:
        """Embeddings of questions, (N, 512), as `ask` uses them."""
        return self._place([self._understood(q) for q in questions])[0]

    def ask(self, questions: Sequence[Question], evidence: int = 5) -> list[Answer]:
        """Answer questions, riskiest first.

        Args:
            questions: 1 to MAX_QUESTIONS.
            evidence: nearest known rollouts to name in each answer, at most MAX_EVIDENCE.

        Raises:
            InvalidArgumentError: no question, or a negative `evidence`.
            TooLargeError: too many questions or too much evidence asked for.
        """
        _check_request(len(questions), evidence)
        said = [self._understood(q) for q in questions]
        embeddings, near, modes = self._seen_from(said)
        posterior = self._judge(near, modes)
        mean, (low, high), effective = posterior.mean, posterior.interval(), posterior.effective
        limit = [self.calibrations.of(mode).distance_limit for mode in modes]
        density, untrained = self._densities(embeddings)
        ratio = np.exp(density - density.max())
        answers = []
        for i, question in enumerate(questions):
            rollouts, failures = self._count(said[i])
            answers.append(
                Answer(
                    question=question,
                    index=i,
                    p_failure=float(mean[i]),
                    p_low=float(low[i]),
                    p_high=float(high[i]),
                    log_density=float(density[i]),
                    density_ratio=float(ratio[i]),
                    log_density_untrained=float(untrained[i]),
                    distance=float(near.nearest[i]),
                    distance_limit=float(limit[i]),
                    seen=rollouts > 0,
                    rollouts=rollouts,
                    failures=failures,
                    effective_rollouts=float(effective[i]),
                    evidence=self._evidence(near.distances[i], evidence),
                )
            )
        return rank(answers)

    def posterior(self, questions: Sequence[Question]) -> Posterior:
        """P(failure) of each question as a distribution, in their order."""
        _, near, modes = self._seen_from([self._understood(q) for q in questions])
        return self._judge(near, modes)

    def risk_map(self, perturbations: Sequence[Perturbation] | None = None) -> RiskMap:
        """Answers over the catalogue (or the given perturbations), ranked, with entropy, NFM and FSI."""
        return make_risk_map(self, perturbations)

    def _take_probes(
        self, probes: ProbeTable | ProbedPrior | None, held: NDArray[np.bool_]
    ) -> None:
        """Learn what probes say, from what is not held out; every rollout that has one is evidence."""
        self._probed = probes if isinstance(probes, ProbedPrior) else None
        self._table = probes if isinstance(probes, ProbeTable) else None
        if self._table is not None and self._table.policy_id == self.policy_id:
            trained = [p for p, out in zip(self._perturbations, held, strict=True) if not out]
            self._probed = ProbedPrior.learn(
                self._table, self.catalogue, trained, self.known.failed[~held]
            )
        if self._probed is None:
            return
        self._probed_rows = np.flatnonzero(self._probed.knows(self._perturbations))
        if not len(self._probed_rows):
            self._probed = None
            return
        known = [self._perturbations[i] for i in self._probed_rows]
        self._probed_risk = self._probed.given(known, self.known.failed[self._probed_rows])

    def _calibrate(self, kept: Sequence[RolloutRecord], held: NDArray[np.bool_]) -> Calibrations:
        inputs = Inputs.from_records(kept, self.catalogue)
        return fit_modes(
            self.embedding, self.known, self._perturbations, inputs, held, self.search, self._probed
        )

    def _seen_from(self, said: Sequence[Question]) -> tuple[Floats, Neighbourhood, list[Mode]]:
        """Embedding of each question, what is known around it, and its mode."""
        embeddings, logits, modes = self._place(said)
        near = self._neighbourhood(said, embeddings, logits)
        return embeddings, self._estrange(said, near, modes), modes

    def _understood(self, question: Question) -> Question:
        """A text that the catalogue might have said asks about the perturbation that it describes."""
        if question.perturbation is not None or not question.text.strip():
            return question
        perturbation = self._reader.read(question.text)
        if perturbation is None:
            return question
        return Question(perturbation, image=question.image)

    def _place(
        self, questions: Sequence[Question]
    ) -> tuple[Floats, NDArray[np.float64], list[Mode]]:
        """Embedding, logit and mode of each question.

        A perturbation that was rolled out, asked without an image or another text, is placed where its rollouts are:
        their middle one, with their mean logit. Anything else is embedded as it is asked.
        """
        inputs = Inputs.from_questions(questions, self.catalogue)
        modes = modes_of(inputs)
        embeddings = np.zeros((len(questions), self.embedding.dim), np.float32)
        logits = np.zeros(len(questions))
        asked = []
        for i, question in enumerate(questions):
            rows = self._rows_of(question) if question.image is None and not question.text else []
            if rows:
                embeddings[i] = _middle(self.known.embeddings[rows])
                logits[i] = self._logits[rows].mean()
                modes[i] = Mode(image=True, factors=True)
            else:
                asked.append(i)
        if asked:
            rows_asked = np.array(asked)
            embeddings[rows_asked] = self.embedding.embed(inputs[rows_asked])
            logits[rows_asked] = self.embedding.failure_logits(embeddings[rows_asked])
        for i in self._answered(questions):
            modes[i] = modes[i]._replace(probed=True)
        return embeddings, logits, modes

    def _answered(self, questions: Sequence[Question]) -> list[int]:
        """Questions about perturbations that have a probe."""
        if self._probed is None:
            return []
        table = self._probed.table
        return [
            i
            for i, q in enumerate(questions)
            if q.perturbation is not None and q.perturbation in table
        ]

    def _neighbourhood(
        self, questions: Sequence[Question], embeddings: Floats, logits: NDArray[np.float64]
    ) -> Neighbourhood:
        same = np.zeros((len(questions), len(self.known)), np.bool_)
        for i, question in enumerate(questions):
            same[i, self._rows_of(question)] = True
        distances = self.known.index.distances(embeddings)
        return Neighbourhood(
            logits, distances, same, self.known.failed, self._latent(questions, same)
        )

    def _latent(
        self, questions: Sequence[Question], same: NDArray[np.bool_]
    ) -> NDArray[np.float64] | None:
        """What factor values say of each question; of one without them nobody reads it."""
        asked, rows = (
            [q.perturbation or Perturbation() for q in questions],
            self._answered(questions),
        )
        if self._risk is None and not rows:
            return None
        found = np.zeros((2, len(asked)))  # of one that neither knows nobody reads it
        if self._risk is not None:
            found = np.stack(self._risk.latent(*self._vectors(asked), without=same))
        if rows and self._probed is not None:
            probed = self._probed.vectors([asked[i] for i in rows])
            others = same[rows][:, self._probed_rows]
            found[:, rows] = np.stack(self._probed_risk.latent(*probed, without=others))
        return found

    def _vectors(
        self, perturbations: Sequence[Perturbation]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        pairs = [self.catalogue.vector(p) for p in perturbations]
        return np.stack([v for v, _ in pairs]), np.stack([m for _, m in pairs])

    def _estrange(
        self, questions: Sequence[Question], near: Neighbourhood, modes: Sequence[Mode]
    ) -> Neighbourhood:
        """Move beyond the distance limit what speaks of something else, or changes what was never changed."""
        free = [i for i, q in enumerate(questions) if q.perturbation is None and q.text.strip()]
        strangeness = np.array([float(self._is_new(q)) for q in questions])
        if not free and not strangeness.any():
            return near
        if free:
            strangeness[free] = self._familiarity.strangeness([questions[i].text for i in free])
        limits = np.array([self.calibrations.of(m).distance_limit for m in modes])
        extra = np.where(strangeness > 0, limits * (1.0 + 3.0 * strangeness), 0.0)
        return replace(near, distances=near.distances + extra[:, None])

    def _judge(self, near: Neighbourhood, modes: Sequence[Mode]) -> Posterior:
        """Each question's answer by its mode's calibration."""
        out = np.zeros((3, len(modes)))
        for mode in set(modes):
            rows = np.array([m == mode for m in modes])
            calibration: Calibration = self.calibrations.of(mode)
            seen = mode.probed or (mode.factors and self._risk is not None)
            part = near[rows] if seen else replace(near[rows], latent=None)
            posterior = calibration.posterior(part)
            out[:, rows] = posterior.alpha, posterior.beta, posterior.effective
        return Posterior(*out)

    def _densities(self, embeddings: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.search is None:
            unknown = np.full(len(embeddings), np.nan)
            return unknown, unknown
        return self.search.log_density(embeddings), self.search.log_density_untrained(embeddings)

    def _rows_of(self, question: Question) -> list[int]:
        pert = question.perturbation
        return self._rows.get(pert.id, []) if pert is not None else []

    def _is_new(self, question: Question) -> bool:
        pert = question.perturbation
        return pert is not None and not {v.factor for v in pert.variations} <= self._factors

    def _count(self, question: Question) -> tuple[int, int]:
        return self.tally(question.perturbation) if question.perturbation is not None else (0, 0)

    def _evidence(self, distances: NDArray[np.float64], count: int) -> tuple[Evidence, ...]:
        nearest = np.argsort(distances, kind="stable")[:count]
        return tuple(
            Evidence(
                self.known.ids[i],
                Outcome.FAILURE if self.known.failed[i] else Outcome.SUCCESS,
                float(distances[i]),
            )
            for i in nearest
        )


def embed_rollouts(
    embedding: Embedding,
    records: Sequence[RolloutRecord],
    catalogue: Catalogue,
    known: KnownSet | None = None,
) -> KnownSet:
    """The known set of evidence records; those in `known` are not embedded again, but judged by their newest label."""
    embeddings = np.zeros((len(records), embedding.dim), np.float32)
    old = {i: row for row, i in enumerate(known.ids)} if known is not None else {}
    fresh = []
    for n, record in enumerate(records):
        if known is not None and record.id in old:
            embeddings[n] = known.embeddings[old[record.id]]
        else:
            fresh.append(n)
    if fresh:
        inputs = Inputs.from_records([records[n] for n in fresh], catalogue)
        embeddings[fresh] = embedding.embed(inputs)
    return KnownSet(
        embeddings,
        np.array([r.outcome is Outcome.FAILURE for r in records]),
        tuple(r.id for r in records),
        tuple(r.perturbation.id for r in records),
    )


def saved_models(models: Path) -> tuple[str, str] | None:
    """Ids of the saved embedding and search; None unless the search was trained in that embedding.

    Two trainings of one study at a time (of two cells) may leave an embedding of the one and a search of the other.
    """
    embedding, (trained_in, search) = Embedding.saved_id(models), SearchPolicy.saved_ids(models)
    return (embedding, search) if embedding and embedding == trained_in else None


def load_search(models: Path, embedding: Embedding) -> SearchPolicy | None:
    """The saved search policy, or None where there is none or it was trained in another embedding."""
    try:
        search = SearchPolicy.load(models)
    except NotReadyError:
        return None
    return search if search.facts.get("embedding_id") == embedding.id else None


def _middle(embeddings: Floats) -> Floats:
    """The one nearest to the mean."""
    away = np.linalg.norm(embeddings - embeddings.mean(axis=0), axis=1)
    return embeddings[int(np.argmin(away))]


def _check_request(questions: int, evidence: int) -> None:
    if questions < 1:
        raise InvalidArgumentError("no question: give at least one.")
    if questions > MAX_QUESTIONS:
        raise TooLargeError(f"{questions} questions at once; at most {MAX_QUESTIONS}.")
    if evidence < 0:
        raise InvalidArgumentError(f"evidence {evidence}: want 0 to {MAX_EVIDENCE}.")
    if evidence > MAX_EVIDENCE:
        raise TooLargeError(f"evidence {evidence}; at most {MAX_EVIDENCE}.")
