"""Places of requests: bounded for all and for each, free again whatever happened."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from aiohttp.test_utils import make_mocked_request

from server.api_access import GRANT
from server.api_slots import NoSlot, Slots, requester
from signaling.grants import Grant


def test_nobody_has_all_places() -> None:
    slots = Slots(at_once=3, each=2)
    with ExitStack() as held:
        held.enter_context(slots.hold("ada"))
        held.enter_context(slots.hold("ada"))
        with pytest.raises(NoSlot) as refused:
            held.enter_context(slots.hold("ada"))
        assert refused.value.own
        held.enter_context(slots.hold("bob"))
        with pytest.raises(NoSlot) as refused:
            held.enter_context(slots.hold("eve"))
        assert not refused.value.own
    with slots.hold("ada"), slots.hold("ada"), slots.hold("eve"):
        pass


def test_a_place_is_free_again_after_a_failure() -> None:
    slots = Slots(at_once=1, each=1)
    for _ in range(2):
        with pytest.raises(RuntimeError), slots.hold("ada"):
            raise RuntimeError
    with slots.hold("bob"):
        pass


def test_a_person_is_known_by_the_token_before_the_address() -> None:
    request = make_mocked_request("POST", "/", headers={"X-Real-IP": "192.0.2.7"})
    assert requester(request, "X-Real-IP") == "192.0.2.7"
    others = make_mocked_request("POST", "/", headers={"X-Real-IP": "2001:db8::7"})
    assert requester(others, "X-Real-IP") == "2001:db8::/64"
    request[GRANT] = Grant("token 1", None, None, "guest", 0.0)
    assert requester(request, "X-Real-IP") == "token 1"
