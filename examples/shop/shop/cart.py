"""The cart: what a customer wants to buy, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One line of a cart; the price is in cents."""

    name: str
    price: int
    quantity: int = 1


def total(items: list[Item]) -> int:
    return sum(item.price * item.quantity for item in items)


def count_items(items: list[Item]) -> int:
    return sum(item.quantity for item in items)


def remove_item(items: list[Item], name: str) -> list[Item]:
    return [item for item in items if item.name != name]


def apply_discount(amount: int, percent: int) -> int:
    """Return the amount less the given percentage, rounded down to whole cents."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be between 0 and 100, not {percent}")
    return amount * (100 - percent) // 100
