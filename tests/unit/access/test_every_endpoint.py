"""A walk through every endpoint and every message, without and with a wrong key or token."""

from __future__ import annotations

import fnmatch
import json
import time
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest
from aiohttp import ClientWebSocketResponse, web
from aiohttp.test_utils import TestClient

from server.api_access import RULES, Access, AccessConfig, Rule
from signaling import protocol
from signaling.app import SIGNALING
from signaling.tokens import AUDIENCE
from tests.unit.access.conftest import API_KEY, JOIN_KEY, METRICS_SECRET, WORKER_SECRET, Start, token
from tests.unit.signaling.test_protocol_document import entries

#: What each rule answers to somebody who shows nothing, or the wrong thing.
REFUSAL = {Rule.JOIN: 401, Rule.BACKEND: 401, Rule.METRICS: 401, Rule.SECRET: 401}
#: Asked for an id that was never given out: who does not know one learns nothing.
UNKNOWN = {Rule.CAPABILITY: 404}
SOCKETS = {Rule.TERMINAL, Rule.WORKER}

WRONG_TOKENS = {
    "nothing": None,
    "no token": "x",
    "another key": token("another-key-" + "o" * 32),
    "expired": jwt.encode(
        {"aud": AUDIENCE, "exp": time.time() - 100, "jti": "j", "role": "host"}, JOIN_KEY, algorithm="HS256"
    ),
    "for something else": jwt.encode(
        {"aud": "understudy:other", "exp": time.time() + 100, "jti": "j", "role": "host"},
        JOIN_KEY,
        algorithm="HS256",
    ),
}
#: Each key of the service shown where another belongs.
OTHER_KEYS = {
    Rule.JOIN: [API_KEY, METRICS_SECRET, WORKER_SECRET, JOIN_KEY],
    Rule.BACKEND: [token(), token(role="host"), METRICS_SECRET, WORKER_SECRET, JOIN_KEY],
    Rule.METRICS: [token(), token(role="host"), API_KEY, WORKER_SECRET, JOIN_KEY],
    Rule.SECRET: [token(), token(role="host"), API_KEY, METRICS_SECRET, JOIN_KEY],
}


def routes(app: web.Application) -> list[tuple[str, str]]:
    found = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    return sorted(found)


def path_of(canonical: str) -> str:
    return canonical.replace("{id}", "t_never-given-out").replace("{path}", "app.css")


def bearing(shown: str | None) -> dict[str, str]:
    return {} if shown is None else {"Authorization": f"Bearer {shown}"}


async def test_every_route_has_a_rule_and_every_rule_a_route(guarded: TestClient) -> None:
    assert set(routes(guarded.server.app)) == set(RULES)


async def test_an_application_with_a_route_without_a_rule_does_not_start() -> None:
    app = web.Application()

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_post("/api/backdoor", handler)
    access = Access(AccessConfig())
    with pytest.raises(RuntimeError, match="backdoor"):
        await access.require_rules(app)


async def test_nothing_opens_without_what_its_rule_asks(guarded: TestClient) -> None:
    walked = 0
    for method, canonical in routes(guarded.server.app):
        rule = RULES[method, canonical]
        if rule in SOCKETS:
            continue
        shown_here = [*WRONG_TOKENS.values(), *OTHER_KEYS.get(rule, [])]
        for shown in shown_here:
            async with guarded.request(method, path_of(canonical), headers=bearing(shown)) as response:
                expected = REFUSAL.get(rule) or UNKNOWN.get(rule) or 200
                assert response.status == expected, (method, canonical, shown)
                if expected == 401:
                    assert response.headers["WWW-Authenticate"] == "Bearer"
                if expected >= 400:
                    assert (await response.json())["error"]["code"]
        walked += 1
    assert walked == len(RULES) - len(SOCKETS)


def test_the_proxy_hides_what_is_for_workers() -> None:
    """From outside not even the right secret is of use."""
    caddy = (Path(__file__).parents[3] / "deploy/caddy/Caddyfile").read_text()
    hidden = next(line.split()[2:] for line in caddy.splitlines() if line.strip().startswith("@inside path"))
    for (_, canonical), rule in RULES.items():
        if rule in (Rule.WORKER, Rule.SECRET, Rule.METRICS, Rule.HEALTH):
            assert any(fnmatch.fnmatchcase(path_of(canonical), pattern) for pattern in hidden), canonical


async def test_the_right_key_opens_each(guarded: TestClient) -> None:
    body = {"room": "r", "name": "Ada", "ttl_s": 60}
    async with guarded.post("/api/tokens", json=body, headers=bearing(API_KEY)) as response:
        assert response.status == 201
        minted = (await response.json())["token"]
    async with guarded.get("/metrics", headers=bearing(METRICS_SECRET)) as response:
        assert response.status == 200
    async with guarded.get("/worker/targets/t_unknown", headers=bearing(WORKER_SECRET)) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "target_unknown")
    # Past the gate, the upload itself is looked at: this is no form.
    async with guarded.post("/api/targets", data=b"x", headers=bearing(minted)) as response:
        assert response.status == 415


async def test_why_a_token_is_refused_is_told_apart(guarded: TestClient) -> None:
    codes = {}
    for what, shown in WRONG_TOKENS.items():
        async with guarded.post("/api/targets", headers=bearing(shown)) as response:
            codes[what] = (await response.json())["error"]["code"]
    assert codes == {
        "nothing": "token_missing",
        "no token": "token_refused",
        "another key": "token_refused",
        "expired": "token_expired",
        "for something else": "token_refused",
    }


# ------------------------------------------------------------ WebSocket messages


async def answer(socket: ClientWebSocketResponse, **message: Any) -> dict[str, Any]:
    await socket.send_json(message)
    return dict(await socket.receive_json(timeout=5))


EXAMPLES = {name: json.loads(example) for name, example in entries("Terminal to server")}


def test_there_is_an_example_of_every_message() -> None:
    union = get_args(get_args(protocol.TerminalMessage)[0])
    assert set(EXAMPLES) == {model.model_fields["type"].default for model in union}


@pytest.mark.parametrize("shown", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
async def test_no_message_is_taken_without_a_good_token(guarded: TestClient, shown: str | None) -> None:
    state = guarded.server.app[SIGNALING].switchboard.state
    for name, example in EXAMPLES.items():
        async with guarded.ws_connect("/ws") as socket:
            if name != "hello":  # straight away, and after a hello that was refused
                assert (await answer(socket, **example))["code"] == "hello_expected"
            hello = {**EXAMPLES["hello"], "token": shown}
            refused = await answer(socket, **hello)
            assert refused["code"] in ("token_missing", "token_refused", "token_expired")
            await socket.send_json(example)
            assert (await socket.receive(timeout=5)).type.name in ("CLOSE", "CLOSING", "CLOSED")
            assert socket.close_code == 1008
    assert (state.terminals, state.rooms, state.workers) == ({}, {}, {})


async def test_a_guest_gets_into_its_room_and_no_other(guarded: TestClient) -> None:
    async with guarded.ws_connect("/ws") as socket:
        welcome = await answer(socket, type="hello", name="Ada", token=token(room="mine", name="Ada L."))
        assert (welcome["name"], welcome["room"]) == ("Ada L.", "mine")
        assert (await answer(socket, type="room.join", room="yours"))["code"] == "unauthorised"
        assert (await answer(socket, type="room.create"))["code"] == "unauthorised"
        assert (await answer(socket, type="room.join", room="mine"))["members"][0]["name"] == "Ada L."


async def test_one_token_serves_so_many_at_once(guarded: TestClient) -> None:
    shared = token()
    limit = guarded.server.app[SIGNALING].config.connections_per_token
    sockets = [await guarded.ws_connect("/ws") for _ in range(limit + 1)]
    answers = [await answer(socket, type="hello", name="Ada", token=shared) for socket in sockets]
    assert [a["type"] for a in answers] == ["welcome"] * limit + ["error"]
    assert answers[-1]["code"] == "rate_limited"
    await sockets[0].send_json({"type": "bye"})
    assert (await sockets[0].receive(timeout=5)).type.name == "CLOSE"
    async with guarded.ws_connect("/ws") as socket:
        assert (await answer(socket, type="hello", name="Bob", token=token()))["type"] == "welcome"
    for socket in sockets:
        await socket.close()


WORKER_EXAMPLES = {name: json.loads(example) for name, example in entries("Worker to server")}


@pytest.mark.parametrize("secret", ["", WORKER_SECRET[:-1], WORKER_SECRET + " ", JOIN_KEY, API_KEY])
async def test_no_worker_message_is_taken_without_the_secret(guarded: TestClient, secret: str) -> None:
    for name, example in WORKER_EXAMPLES.items():
        async with guarded.ws_connect("/worker") as socket:
            said, code = example, "hello_expected"
            if name == "worker.hello":
                said, code = {**example, "secret": secret}, "unauthorised"
            assert (await answer(socket, **said))["code"] == code
            assert (await socket.receive(timeout=5)).type.name in ("CLOSE", "CLOSING", "CLOSED")
    assert guarded.server.app[SIGNALING].workers == 0


async def test_the_workers_secret_opens(guarded: TestClient) -> None:
    async with guarded.ws_connect("/worker") as socket:
        hello = {**WORKER_EXAMPLES["worker.hello"], "secret": WORKER_SECRET}
        assert (await answer(socket, **hello))["type"] == "worker.welcome"


async def test_no_join_token_opens_anything_of_an_operator(start: Start) -> None:
    """Without an API key or a worker secret nothing is right, not even an empty one."""
    client = await start(join_key=JOIN_KEY)
    async with client.post("/api/tokens", headers={"Authorization": "Bearer "}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (403, "tokens_off")
    async with client.ws_connect("/worker") as socket:
        hello = {**WORKER_EXAMPLES["worker.hello"], "secret": ""}
        assert (await answer(socket, **hello))["code"] == "unauthorised"
