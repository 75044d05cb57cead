"""Asks the Items service over HTTP: the one module below the servers that speaks it.

One attempt, as it is: no retry, no redirect, no cookie, no proxy of the environment's, no
decompression (a small body would become a large one), and no timeout of its own, since whoever
asks bounds the time. What aiohttp raises is `NoEvidence` from here on.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import token_hex
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from catalogue.http.responses import LARGEST_BODY, Answer, Fault, NoEvidence, from_cache

if TYPE_CHECKING:
    from domain.messages import ItemId

_TLS = (aiohttp.ClientSSLError, ssl.SSLError, aiohttp.ServerFingerprintMismatch)
_HEADERS = {
    "Accept": "application/json, application/problem+json",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache",
    "User-Agent": "takedown",
}


class _HungUp(aiohttp.ClientConnectionError):
    """The connection was closed before the answer came."""


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # What comes out of here as it is, aiohttp tries again by itself.
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # nobody was asked, which it leaves at that
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _HungUp(str(error) or type(error).__name__) from error


class ItemsClient:
    """A pool of connections to one Items service.

    Args:
        url: its base, without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def get(self, item_id: ItemId, traceparent: str | None) -> Answer:
        """What it answers when asked for an item's containers.

        Raises:
            NoEvidence: it did not answer, or not in HTTP.
        """
        headers = {} if traceparent is None else {"traceparent": traceparent}
        # Each request has its own URL. A cache can answer without a header that shows it, as nginx
        # does, but only what it was asked for before.
        url = f"{self._url}/items/{item_id}/containers?request={token_hex(8)}"
        try:
            async with self._opened().get(url, headers=headers, allow_redirects=False) as response:
                return Answer(
                    status=response.status,
                    content_type=_media_type(response.headers.get("Content-Type", "")),
                    body=await _bounded(response),
                    retry_after=response.headers.get("Retry-After"),
                    cached=from_cache(_joined(response.headers)),
                    date=_date(response.headers.get("Date")),
                )
        except _TLS as error:
            raise NoEvidence(f"TLS failed: {error}", Fault.LASTING) from error
        except aiohttp.ClientResponseError as error:
            cause = f"what it answered is not HTTP: {error.message}"
            raise NoEvidence(cause, Fault.LASTING) from error
        except (aiohttp.ClientError, OSError) as error:
            # Refused, reset, no such name, hung up in the middle of the body.
            raise NoEvidence(str(error) or type(error).__name__, Fault.PASSING) from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # How many are asked at once is bounded by whoever asks.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                auto_decompress=False,
                middlewares=(_once,),
            )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            return None  # and the connection is closed: the rest is not read
    return bytes(body)


def _joined(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Each header once: several lines of one name are one list."""
    return CIMultiDict({name: ", ".join(headers.getall(name)) for name in headers})


def _date(text: str | None) -> datetime | None:
    """A `Date`, in UTC; None if there is none that can be read."""
    try:
        date = parsedate_to_datetime(text) if text is not None else None
        return date.astimezone(UTC) if date is not None and date.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()
