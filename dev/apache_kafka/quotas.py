"""Quotas of clients, as `kafka-configs.sh --entity-type clients` sets them (KIP-546)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Float64, Int16, Int32, Schema, String

from domain.errors import BrokerStartError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka.client import AIOKafkaClient


class AlterClientQuotasResponse_v0(Response):  # type: ignore[misc] # noqa: N801 - as aiokafka does
    """What became of each entry."""

    API_KEY = 49
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "entries",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("entity", Array(("type", String("utf-8")), ("name", String("utf-8")))),
            ),
        ),
    )


class AlterClientQuotasRequest_v0(RequestStruct):  # type: ignore[misc] # noqa: N801
    """Sets and removes quotas."""

    API_KEY = 49
    API_VERSION = 0
    RESPONSE_TYPE = AlterClientQuotasResponse_v0
    SCHEMA = Schema(
        (
            "entries",
            Array(
                ("entity", Array(("type", String("utf-8")), ("name", String("utf-8")))),
                ("ops", Array(("key", String("utf-8")), ("value", Float64), ("remove", Boolean))),
            ),
        ),
        ("validate_only", Boolean),
    )


class AlterClientQuotasRequest(Request[AlterClientQuotasRequest_v0]):  # type: ignore[misc]
    """About one client id, or about all that have no quota of their own.

    Args:
        client_id: which; None for all others.
        quotas: bytes a second by name, such as `consumer_byte_rate`; None removes.
    """

    API_KEY: ClassVar[int] = 49

    def __init__(self, client_id: str | None, quotas: Mapping[str, float | None]) -> None:
        self._client_id = client_id
        self._quotas = quotas

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """The request in the one version that is known."""
        ops = [(name, rate or 0.0, rate is None) for name, rate in self._quotas.items()]
        return request_struct_class([([("client-id", self._client_id)], ops)], False)


async def set_quotas(
    client: AIOKafkaClient, client_id: str | None, quotas: Mapping[str, float | None]
) -> None:
    """Set quotas of a client id; see `AlterClientQuotasRequest`.

    Raises:
        BrokerStartError: they were refused.
    """
    request = AlterClientQuotasRequest(client_id, quotas)
    response = await client.send(client.get_random_node(), request)
    for code, message, _ in response.entries:
        if code:
            raise BrokerStartError(f"quotas refused: {for_code(code)()} {message}")
