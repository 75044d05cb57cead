"""Health, readiness, and what answers a request that is wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from operations.observation.schemas.fields import Shape


class Check(Shape, frozen=True):
    """One readiness check."""

    ok: bool
    detail: Annotated[str, Meta(examples=["ok"])]


class Alive(Shape, frozen=True):
    """The loop answers."""

    status: Literal["alive"]


class MissingSafeguard(Shape, frozen=True):
    """Something that the brokers do not provide, and that would protect answers."""

    name: Annotated[str, Meta(examples=["item_published: settings"])]
    why: Annotated[str, Meta(description="What prevents it, and what it would protect from.")]


class Ready(Shape, frozen=True):
    """Each readiness check."""

    status: Literal["ready", "not ready"]
    checks: dict[str, Check]
    missing_safeguards: Annotated[
        list[MissingSafeguard], Meta(description="They do not prevent readiness.")
    ]


class BadRequest(Shape, frozen=True, omit_defaults=True):
    """A problem (RFC 9457)."""

    type: Annotated[str, Meta(examples=["urn:takedown:problem:invalid-parameter"])]
    title: str
    status: int
    detail: str
    instance: str
    takedown_id: Annotated[str | None, Meta(description="Names this answer; no takedown.")] = None
    parameter: Annotated[str | None, Meta(description="Which parameter is wrong.")] = None
