"""Short ways into a call, for tests."""

from __future__ import annotations

from signaling.protocol import AcceptRelay, CallMode, RelayKind, RequestRelay
from tests.unit.signaling.world import Client, World


def accept(world: World, client: Client) -> None:
    """Accept all that rings for the client, as what it is."""
    for request in [r for r, answer in client.asked.items() if answer == "pending"]:
        world.send(client, AcceptRelay(request=request, mode=client.incoming[request].mode))


def call(
    world: World, count: int, kind: RelayKind = "video", mode: CallMode = "reenacted", room: str = "R"
) -> list[Client]:
    """So many new clients in one call."""
    clients = [world.client(room=room) for _ in range(count)]
    world.send(clients[0], RequestRelay(kind=kind, mode=mode))
    for client in clients[1:]:
        accept(world, client)
    assert all(len(client.calls) == 1 for client in clients)
    return clients
