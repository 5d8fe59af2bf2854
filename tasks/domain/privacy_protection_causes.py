"""Causes in what protects people: the noise, the anonymity of what is published, the settings."""

from collections.abc import Iterable

from tasks.domain.causes import Cause, Confidence
from tasks.domain.privacy_accounting import CLOSE_ENOUGH
from tasks.domain.privacy_anonymisation import Anonymity
from tasks.domain.privacy_limits import PrivacyLimits
from tasks.domain.privacy_noise import Verdict
from tasks.domain.privacy_readings import COMPONENT, Noise, Parameters, shown


def noise_causes(noise: Noise | None) -> Iterable[Cause]:
    """Broken at once, or doubtful in two probes: one doubtful probe in many is chance."""
    if noise is None:
        return
    evidence = {"first": noise.first.as_json()} | (
        {"second": noise.second.as_json()} if noise.second else {}
    )
    broken = [
        each for each in (noise.first, noise.second) if each and each.verdict is Verdict.BROKEN
    ]
    if broken:
        yield Cause(
            "privacy.noise-absent",
            COMPONENT,
            Confidence.PROVEN,
            f"noise protects nobody: {broken[0].reason}",
            evidence,
        )
    elif noise.second is not None and noise.second.verdict is Verdict.DOUBTFUL:
        yield Cause(
            "privacy.noise-broken",
            COMPONENT,
            Confidence.PROVEN,
            f"noise is not what is claimed, in two probes: {noise.second.reason}",
            evidence,
        )
    elif noise.first.verdict is Verdict.DOUBTFUL:
        again = "a fresh probe does not confirm it" if noise.second else "not probed again"
        yield Cause(
            "privacy.noise-suspect",
            COMPONENT,
            Confidence.POSSIBLE,
            f"noise looked wrong once: {noise.first.reason}; {again}",
            evidence,
        )


def anonymity_causes(seen: Anonymity | None, limits: PrivacyLimits) -> Iterable[Cause]:
    """Published records that say of whom they are, or are too few of a kind (k, l)."""
    if seen is None:
        return
    if seen.leaks:
        kinds = ", ".join(f"{count} with a {kind}" for kind, count in seen.identifiers.items())
        parts = [
            f"{seen.canaries} with a planted canary" if seen.canaries else "",
            kinds,
            f"the column {', '.join(seen.direct)}" if seen.direct else "",
        ]
        yield Cause(
            "privacy.identifiers-published",
            COMPONENT,
            Confidence.PROVEN,
            f"published records say of whom they are ({seen.looked} looked at): "
            + ", ".join(filter(None, parts)),
            seen.as_json(),
        )
    if seen.small or seen.uniform:
        yield Cause(
            "privacy.anonymity-low",
            COMPONENT,
            Confidence.PROVEN if seen.whole else Confidence.POSSIBLE,
            f"published records are not anonymous enough: k is {seen.k} (at least {limits.k}), l "
            f"is {seen.l} (at least {limits.l}); {seen.small + seen.uniform} groups are below"
            + ("" if seen.whole else "; only a part was read, in which groups look small"),
            seen.as_json(),
        )


def parameter_causes(parameters: Parameters | None, limits: PrivacyLimits) -> Iterable[Cause]:
    """What the engine is set to, against what is asked for."""
    if parameters is None:
        return
    multiplier = parameters.multiplier
    if multiplier is not None and multiplier < CLOSE_ENOUGH * limits.least_multiplier:
        yield Cause(
            "privacy.noise-low",
            COMPONENT,
            Confidence.LIKELY,
            f"the engine is set to a noise multiplier of {shown(multiplier)}; at least "
            f"{shown(limits.least_multiplier)} is asked for",
            {"multiplier": shown(multiplier), "least": shown(limits.least_multiplier)},
        )
    if parameters.delta is not None and parameters.delta > limits.delta:
        yield Cause(
            "privacy.delta-high",
            COMPONENT,
            Confidence.LIKELY,
            f"the engine is set to a delta of {shown(parameters.delta)}; at most "
            f"{shown(limits.delta)} is asked for",
            {"delta": shown(parameters.delta), "most": shown(limits.delta)},
        )
