"""Taxes: rates by country, and what they add to an amount in cents."""

from __future__ import annotations

RATES = {"DE": 19, "FR": 20, "JP": 10}


def rate_for(country: str) -> int:
    """Return the tax rate of a country in percent."""
    return RATES[country.upper()]


def add_tax(amount: int, country: str) -> int:
    return amount + tax_on(amount, country)


def tax_on(amount: int, country: str) -> int:
    """Return the tax on an amount, rounded half up to whole cents."""
    return (amount * rate_for(country) + 50) // 100


def highest_rate() -> int:
    return max(RATES.values())
