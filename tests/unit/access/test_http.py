"""Origins, hosts, rates, the tokens API and the commands around them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from typer.testing import CliRunner

from server.api_access import Access, AccessConfig
from server.api_errors import ApiError
from server.cli import app as commands
from server.errors import UserError
from server.exposure import require_guard
from server.serve import worker_environment
from server.settings import Settings
from signaling.admission import is_local_request, is_own_host, same_secret
from signaling.tokens import verify
from tests.unit.access.conftest import API_KEY, JOIN_KEY, Start, token

ROOT = Path(__file__).parents[3]
BACKEND = {"Authorization": f"Bearer {API_KEY}"}


async def code(client: TestClient, method: str, path: str, **headers: str) -> tuple[int, str]:
    async with client.request(method, path, headers=headers) as response:
        return response.status, "" if response.status < 400 else (await response.json())["error"]["code"]


# ------------------------------------------------------------ origins and hosts


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/targets"), ("DELETE", "/api/targets/t_x")])
async def test_pages_of_other_sites_change_nothing(start: Start, method: str, path: str) -> None:
    client = await start(allowed_origins=["https://friend.example"])
    own = f"http://{client.host}:{client.port}"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{client.host}:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert await code(client, method, path, **headers) == (403, "origin")
    for headers in ({}, {"Origin": own}, {"Origin": "https://friend.example"}):
        status, _ = await code(client, method, path, **headers)
        assert status in (404, 415)


async def test_a_local_service_answers_to_its_own_names_alone(start: Start) -> None:
    """Otherwise a page whose name was made to point here would be of the same origin (DNS rebinding)."""
    client = await start()
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"):
        assert await code(client, "GET", "/metrics", Host=host) == (403, "own_host_only")
        assert await code(client, "GET", "/ws", Host=host, Origin=f"http://{host}") == (403, "own_host_only")
        assert (await code(client, "GET", "/healthz", Host=host))[0] == 200
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "localhost.", "LOCALHOST"):
        assert (await code(client, "GET", "/api/targets", Host=host))[0] == 200
    invited = await start(join_key=JOIN_KEY)
    assert (await code(invited, "GET", "/api/targets", Host="meet.example.org"))[0] == 200


def test_what_counts_as_this_machine() -> None:
    assert is_own_host("[::1]:80")
    assert not is_own_host("0.0.0.0")
    assert not is_own_host("[::")
    assert is_local_request("127.0.0.1", {})
    assert not is_local_request("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"})
    assert not is_local_request("10.0.0.1", {})
    assert not is_local_request(None, {})


async def test_metrics_without_a_secret_are_for_this_machine(start: Start) -> None:
    client = await start()
    assert (await code(client, "GET", "/metrics"))[0] == 200
    assert await code(client, "GET", "/metrics", **{"X-Forwarded-For": "10.0.0.1"}) == (401, "unauthorised")


def test_secrets_are_compared_in_constant_time() -> None:
    assert same_secret("ab", "ab")
    for wrong in ("", "a", "abc", "aB", "\udc80", None):
        assert not same_secret("ab", wrong)
    assert not same_secret("", "")
    # No secret is ever compared by == anywhere: that stops at the first wrong character.
    suspicious = re.compile(r"secret|_key\b|password", re.I)
    for folder in ("server", "signaling"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                    sides = [node.left, *node.comparators]
                    said = [ast.unparse(side) for side in sides if not isinstance(side, ast.Constant)]
                    assert not any(map(suspicious.search, said)), f"{path.name}: {ast.unparse(node)}"


# ------------------------------------------------------------ rates


async def test_an_address_and_a_person_are_made_to_wait(start: Start) -> None:
    client = await start(join_key=JOIN_KEY, api_key=API_KEY)
    ada = {"Authorization": f"Bearer {token()}"}
    seen = [(await code(client, "POST", "/api/targets", **ada))[0] for _ in range(21)]
    assert set(seen[:20]) == {415}
    assert seen[20] == 429


async def test_guessing_the_api_key_is_slow_and_does_not_lock_the_backend_out(start: Start) -> None:
    client = await start(join_key=JOIN_KEY, api_key=API_KEY)
    wrong = {"Authorization": "Bearer guess"}
    seen = [(await code(client, "POST", "/api/tokens", **wrong))[0] for _ in range(11)]
    assert seen == [401] * 10 + [429]
    assert await code(client, "POST", "/api/tokens", **BACKEND) == (415, "unsupported_media_type")


class FakeRequest:
    """As much of a request as the gate looks at."""

    def __init__(self, route: Any, address: str) -> None:
        self.match_info = type("Match", (), {"route": route})
        self.remote, self.headers, self.host, self.method = address, {}, "localhost", "GET"


async def test_requests_of_an_address_are_limited(start: Start) -> None:
    client = await start()
    access = Access(AccessConfig(request_burst=3, requests_per_second=0.001))
    route = next(r for r in client.server.app.router.routes() if r.resource.canonical == "/api/config")
    for _ in range(3):
        access.admit(FakeRequest(route, "10.0.0.1"))  # type: ignore[arg-type]
    with pytest.raises(ApiError) as refused:
        access.admit(FakeRequest(route, "10.0.0.1"))  # type: ignore[arg-type]
    assert refused.value.status == 429
    access.admit(FakeRequest(route, "10.0.0.2"))  # type: ignore[arg-type]


# ------------------------------------------------------------ the tokens API


async def test_backend_mints_tokens(guarded: TestClient) -> None:
    async with guarded.post(
        "/api/tokens", json={"room": "r1", "name": "Ada", "ttl_s": 90}, headers=BACKEND
    ) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        body = await response.json()
    grant = verify(JOIN_KEY, body["token"])
    assert (grant.room, grant.name, grant.role, grant.id) == ("r1", "Ada", "guest", body["id"])
    assert body["path"] == f"/?room=r1#token={body['token']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["expires_at"])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "names the room"),
        ({"room": "no room"}, "room"),
        ({"room": "r", "ttl_s": 0}, "ttl_s"),
        ({"room": "r", "ttl_s": 1e9}, "ttl_s"),
        ({"room": "r", "role": "root"}, "role"),
        ({"room": "r", "exp": 1}, "exp"),
        ([], "request"),
    ],
)
async def test_senseless_wishes_are_refused_in_words(guarded: TestClient, body: Any, says: str) -> None:
    async with guarded.post("/api/tokens", json=body, headers=BACKEND) as response:
        assert response.status == 400
        assert says in (await response.json())["error"]["message"]


# ------------------------------------------------------------ settings and commands


@pytest.mark.parametrize("exposed", [{"host": "0.0.0.0"}, {"host": ""}, {"host": "::"}, {"host": "10.1.2.3"}])
def test_an_open_service_is_local(exposed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="UNDERSTUDY_JOIN_KEY"):
        require_guard(Settings(**exposed))
    require_guard(Settings(**exposed, join_key=JOIN_KEY))
    require_guard(Settings(**exposed, open_access=True))


def test_an_open_service_behind_a_proxy_is_not_local() -> None:
    with pytest.raises(UserError, match="proxy"):
        require_guard(Settings(forwarded_header="X-Forwarded-For"))
    for host in ("127.0.0.1", "localhost", "::1"):
        require_guard(Settings(host=host))


def run(*arguments: str, **environment: str) -> Any:
    quiet = {"UNDERSTUDY_CONFIG": "", **{f"UNDERSTUDY_{key}": value for key, value in environment.items()}}
    return CliRunner().invoke(commands, list(arguments), env=quiet)


@pytest.mark.parametrize("command", ["serve", "signaling"])
def test_serving_everybody_unasked_does_not_start(command: str) -> None:
    result = run(command, "--host", "0.0.0.0", "--port", "0", WORKER_SECRET="s" * 16)
    assert isinstance(result.exception, UserError)
    assert "anybody could enter" in str(result.exception)


def test_token_command() -> None:
    key = run("token", "--new-key").stdout.strip()
    assert len(key) >= 32
    made = run("token", "quiet-heron", "--name", "Ada", "--hours", "2", JOIN_KEY=key)
    grant = verify(key, made.stdout.strip())
    assert (grant.room, grant.name, grant.role) == ("quiet-heron", "Ada", "guest")
    link = run("token", "r", "--url", "https://meet.example.org/", JOIN_KEY=key).stdout.strip()
    assert link.startswith("https://meet.example.org/?room=r#token=")
    assert verify(key, link.partition("#token=")[2]).room == "r"
    assert verify(key, run("token", "--host", JOIN_KEY=key).stdout.strip()).role == "host"


def test_token_command_says_what_is_wrong() -> None:
    assert "join_key" in run("token", "r").stderr
    assert "Name the room" in str(run("token", JOIN_KEY=JOIN_KEY).exception)
    assert "at least 32" in run("token", "r", JOIN_KEY="short").stderr
    assert "short" not in run("token", "r", JOIN_KEY="short").stderr


def test_workers_are_not_given_what_lets_people_in(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"join_key": JOIN_KEY, "api_key": API_KEY, "metrics_secret": "m" * 20}
    for name, value in given.items():
        monkeypatch.setenv(f"UNDERSTUDY_{name.upper()}", value)
    environment = worker_environment(Settings(**given, worker_secret="w" * 16))
    assert environment["PATH"]
    assert environment["UNDERSTUDY_WORKER_SECRET"] == "w" * 16
    for text in environment.values():
        assert not {JOIN_KEY, API_KEY, "m" * 20} & {text}
