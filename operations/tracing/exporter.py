"""Where spans go: over OTLP/HTTP, by OpenTelemetry's own `OTEL_...` variables.

A thread of the SDK's takes them there in batches, from a queue with a bound (by default 2048);
when the collector is away or slow, spans are dropped and the SDK says so in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


def otlp_provider(environment: Mapping[str, str], version: str) -> TracerProvider:
    """A provider that exports.

    Args:
        environment: the process's own, from which the SDK reads its variables by itself.
        version: of the service.

    Raises:
        SettingsError: a variable of OpenTelemetry's cannot be used.
    """
    for name in _PROTOCOLS:
        if environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise SettingsError(f"{name} must be {_PROTOCOL}: no other protocol is built in")
    try:
        exporter = OTLPSpanExporter()
        provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except (ValueError, OSError) as error:
        raise SettingsError(f"OpenTelemetry's OTEL_ variables cannot be used: {error}") from None
    return provider


def _resource(version: str) -> Resource:
    """What the variables say of us, and our own name and version where they say nothing."""
    said = Resource.create()
    ours = {}
    if str(said.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        ours["service.name"] = "takedown"
    if "service.version" not in said.attributes:
        ours["service.version"] = version
    return said.merge(Resource(ours))
