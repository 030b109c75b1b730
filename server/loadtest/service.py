"""The service under load as seen from outside: where it is, its targets and their previews, join tokens."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from PIL import Image, UnidentifiedImageError

from server.errors import UserError
from server.loadtest.pictures import Rgb

_TIMEOUT: Final = aiohttp.ClientTimeout(total=15)
#: A service that says "too often" is asked again after this long, so many times (the API's rate is 50/s).
_AGAIN_S: Final = 1.0
_ATTEMPTS: Final = 60
_TOKEN_TTL_S: Final = 4 * 3600


@dataclass(frozen=True)
class Address:
    """A service's origin, and the ``/ws`` beside it."""

    http: str
    ws: str

    @classmethod
    def of(cls, url: str) -> Address:
        """From the address of its page.

        Raises:
            UserError: it is no http(s) address.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
        except ValueError:  # brackets that do not close
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f"{url}: give the address of the page, as https://meet.example.org.")
        secure = "s" if parts.scheme == "https" else ""
        return cls(f"http{secure}://{parts.netloc}", f"ws{secure}://{parts.netloc}/ws")


@dataclass(frozen=True)
class Access:
    """How synthetic peers get in: one token for all, a key that mints one for each room, or freely."""

    token: str | None = None
    api_key: str | None = None

    async def token_for(self, http: aiohttp.ClientSession, address: Address, room: str) -> str | None:
        """A join token for a room; None where none is needed.

        Raises:
            UserError: the service does not mint tokens with this key, or does not answer any more.
        """
        if self.api_key is None:
            return self.token
        why = ""
        for _ in range(_ATTEMPTS):
            try:
                async with http.post(
                    f"{address.http}/api/tokens",
                    json={"room": room, "ttl_s": _TOKEN_TTL_S},
                    headers={"Authorization": f"Bearer {self.api_key}"},
                    timeout=_TIMEOUT,
                ) as response:
                    if response.status != 429:
                        body = await _json(response)
                        if response.status != 201 or "token" not in body:
                            why = _sentence(body, response.status)
                            raise UserError(f"No join token for room {room}: {why}")
                        return str(body["token"])
                    why = "the service keeps saying that it is asked too often."
            except aiohttp.ClientError as error:
                # A node that is restarted, as it may be under a load test: the next one answers.
                why = f"{address.http} cannot be reached: {error or type(error).__name__}."
            except TimeoutError:
                why = f"{address.http} does not answer."
                break  # waited long enough
            await asyncio.sleep(_AGAIN_S)
        raise UserError(f"No join token for room {room}: {why}")


async def reach(http: aiohttp.ClientSession, address: Address) -> dict[str, Any]:
    """What the service says of itself (``/api/config``).

    Raises:
        UserError: nothing, or something else, answers there.
    """
    try:
        async with http.get(f"{address.http}/api/config", timeout=_TIMEOUT) as response:
            if response.status != 200:
                raise UserError(f"{address.http} is no Understudy: /api/config answers {response.status}.")
            return await _json(response)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UserError(f"{address.http} cannot be reached: {error or type(error).__name__}.") from None


async def previews(
    http: aiohttp.ClientSession, address: Address, further: Sequence[str]
) -> Mapping[str, Rgb]:
    """Preview pictures of the built-in targets, and of others by id.

    Raises:
        UserError: there is no such target.
    """
    pictures: dict[str, Rgb] = {}
    try:
        async with http.get(f"{address.http}/api/targets", timeout=_TIMEOUT) as response:
            body = await _json(response)
            if response.status != 200:
                raise UserError(f"The targets cannot be listed: {_sentence(body, response.status)}")
        for id in dict.fromkeys([*(target["id"] for target in body["targets"]), *further]):
            async with http.get(f"{address.http}/api/targets/{id}/image", timeout=_TIMEOUT) as response:
                if response.status != 200:
                    raise UserError(f"Target {id}: {_sentence(await _json(response), response.status)}")
                pictures[id] = np.array(Image.open(io.BytesIO(await response.read())).convert("RGB"))
    except (aiohttp.ClientError, TimeoutError, UnidentifiedImageError) as error:
        raise UserError(f"The targets cannot be read: {error or type(error).__name__}.") from None
    return pictures


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await response.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _sentence(body: Mapping[str, Any], status: int) -> str:
    error = body.get("error")
    return str(error["message"]) if isinstance(error, dict) and "message" in error else f"HTTP {status}."


async def look_before(address: Address, targets: Sequence[str]) -> None:
    """Make sure that the service and the targets are there, before anything is made for them.

    Raises:
        UserError: they are not.
    """
    async with aiohttp.ClientSession() as http:
        await reach(http, address)
        await previews(http, address, targets)
