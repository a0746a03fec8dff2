"""The inventory: how many of each thing are in stock."""

from __future__ import annotations

Stock = dict[str, int]


def add_stock(stock: Stock, name: str, quantity: int) -> Stock:
    """Return the stock with a quantity of one thing added."""
    return {**stock, name: stock.get(name, 0) + quantity}


def is_available(stock: Stock, name: str, quantity: int = 1) -> bool:
    return stock.get(name, 0) >= quantity


def sold_out(stock: Stock) -> list[str]:
    """Return the names of the things that are out of stock, in order."""
    return sorted(name for name, quantity in stock.items() if quantity == 0)
