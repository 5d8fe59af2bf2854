"""Settings of what runs how often: replicas, shutting down, rolling back."""

from typing import Self

from pydantic import Field, model_validator

from tasks.sections.base import Section

_NAME = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class EmergencySettings(Section):
    """What an emergency shutdown stops beside API and workers, and how long it waits for each."""

    privacy_engine: str = Field(
        "privacy-engine", pattern=_NAME, description="The Deployment of the privacy engine."
    )
    cache: str = Field("redis", pattern=_NAME, description="The StatefulSet of Redis.")
    database: str = Field("postgresql", pattern=_NAME, description="The StatefulSet of PostgreSQL.")
    part_seconds: float = Field(
        180.0, gt=0, le=3600, description="For one part to be gone, or to be ready again."
    )


class ScalingSettings(Section):
    """Which workloads are scaled, how far, and from where on Celery's queue is a cause.

    The bounds hold for each workload; quotas, nodes and autoscalers may allow less.
    """

    api: str = Field(
        "rlhf-audit-trail", pattern=_NAME, description="The API's Deployment, as the runbook says."
    )
    workers: str = Field(
        "celery-workers", pattern=_NAME, description="The Deployment of the Celery workers."
    )
    minimum: int = Field(1, ge=0, le=1000, description="Replicas that scaling leaves at least.")
    maximum: int = Field(10, ge=1, le=1000, description="Replicas that a workload gets at most.")
    step: int = Field(4, ge=1, le=1000, description="Replicas more at once, at most.")
    share: float = Field(
        2.0, gt=0, le=10, description="The same as a share of those that there are; at least one."
    )
    ready_seconds: float = Field(
        60.0,
        gt=0,
        le=600,
        description="How long new pods may take until they are ready; an autoscaler's own 15 s "
        "are among it.",
    )
    queues: tuple[str, ...] = Field(
        ("celery",),
        min_length=1,
        max_length=20,
        description="Redis keys of Celery's queues: lists, one for each.",
    )
    unacknowledged: str = Field(
        "unacked_index",
        min_length=1,
        max_length=200,
        description="Redis key of the tasks that workers have taken and not finished.",
    )
    sent_header: str = Field(
        "timestamp",
        min_length=1,
        max_length=100,
        description="Header of a task that says when it was sent; Celery by itself sends none.",
    )
    sample_seconds: float = Field(
        1.0, gt=0, le=30, description="Between two looks at a queue, from which rates are taken."
    )
    quiet_seconds: float = Field(
        5.0, gt=0, le=60, description="The same once more, when ready workers took no task."
    )
    backlog: int = Field(100, ge=1, description="Tasks that wait: from here on it is a backlog.")
    drain_seconds: float = Field(
        300.0, gt=0, le=86_400, description="A backlog that is gone within this time mends itself."
    )
    stuck_seconds: float = Field(
        300.0, gt=0, le=86_400, description="A task in a worker's hands for longer may be stuck."
    )
    visibility_seconds: float = Field(
        3600.0,
        gt=0,
        le=2_592_000,
        description="Celery's visibility_timeout: what is held for longer shows that workers hang.",
    )
    verify_seconds: float = Field(
        20.0, gt=0, le=600, description="How long a backlog may take until it is seen to shrink."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError("expected a minimum up to the maximum")
        return self


class RollbackSettings(Section):
    """What is rolled back, and how long its pods may take."""

    workload: str = Field(
        "deployment/rlhf-audit-trail",
        pattern="^(deployment|statefulset)/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        description="What an incident is about that names no workload itself.",
    )
    seconds: float = Field(
        600.0,
        gt=0,
        le=3600,
        description="How long a rollback may take; the deadline of the Deployment may come first.",
    )
    return_seconds: float = Field(
        30.0, gt=0, le=3600, description="How long a return is watched from a rollback that failed."
    )
