"""Sound packets that overtook each other: order, waiting only where it helps, bounds."""

from __future__ import annotations

import random

from server.media.mends.sound_order import MAX_HELD, MAX_HOLD_S, SoundOrder


class Network:
    """Gives packets to a :class:`SoundOrder` at set times, calling ``release`` when it is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.out: list[tuple[float, int]] = []
        self.order = SoundOrder(
            lambda payload, timestamp: self.out.append((self.now, timestamp)), lambda: self.now
        )

    def deliver(self, arrivals: list[tuple[float, int]]) -> None:
        for at, number in sorted(arrivals):
            while (due := self.order.due) is not None and due < at:
                self.now = max(self.now, due)
                self.order.release()
            self.now = at
            self.order.put(number & 0xFFFF, b"x", number)

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.out]


def test_in_order_nothing_waits() -> None:
    network = Network()
    network.deliver([(0.02 * n, n) for n in range(65_000, 66_000)])  # over the sequence's end
    assert network.numbers == list(range(65_000, 66_000))
    assert all(abs(at - 0.02 * number) < 1e-9 for at, number in network.out)


def test_a_loss_delays_nothing_where_nothing_comes_late() -> None:
    network = Network()
    network.deliver([(0.02 * n, n) for n in range(500) if n % 7])
    assert all(abs(at - 0.02 * number) < 1e-9 for at, number in network.out)
    assert len(network.out) == 500 - len(range(0, 500, 7))


def test_under_jitter_nearly_all_arrive_in_order_and_in_time() -> None:
    network, chance = Network(), random.Random(1)
    network.deliver([(0.02 * n + chance.uniform(0, 0.2), n) for n in range(1000)])
    assert network.numbers == sorted(network.numbers)
    assert len(network.numbers) > 950  # 300 if nothing is waited for
    assert max(at - 0.02 * number for at, number in network.out) < 0.2 + MAX_HOLD_S


def test_when_jitter_ends_losses_are_no_longer_waited_for() -> None:
    network, chance = Network(), random.Random(2)
    network.deliver([(0.02 * n + chance.uniform(0, 0.2), n) for n in range(500)])
    assert network.order.hold_s > 0.1
    network.deliver([(0.4 + 0.02 * n, n) for n in range(500, 1500) if n % 7])
    assert network.order.hold_s == 0
    assert all(at - 0.02 * number < 0.41 for at, number in network.out if number > 1200)


def test_late_and_repeated_packets_are_refused() -> None:
    network = Network()
    order = network.order
    assert order.put(10, b"x", 10)
    assert not order.put(10, b"x", 10)
    assert not order.put(9, b"x", 9)
    assert order.put(12, b"x", 12)
    assert not order.put(11, b"x", 11)
    assert network.numbers == [10, 12]


def test_what_is_held_is_bounded() -> None:
    network = Network()
    order = network.order
    order.put(0, b"x", 0)
    order.put(2, b"x", 2)
    network.now = 0.2
    order.put(1, b"x", 1)  # late: from now on gaps are waited for
    assert order.hold_s > 0.2
    for number in range(4, 1000):
        order.put(number, b"x", number)
        assert len(order._held) <= MAX_HELD
    order.put(40_000 - 10_000, b"x", 30_000)  # a jump far ahead
    network.now += 1
    order.release()
    assert network.numbers[-1] == 30_000
    assert len(order._given_up) <= 2 * MAX_HELD
