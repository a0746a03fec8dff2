from shop.tax import add_tax, highest_rate, rate_for, tax_on


def test_rate_for_takes_any_case() -> None:
    assert rate_for("de") == 19


def test_tax_is_rounded_half_up() -> None:
    assert tax_on(250, "DE") == 48


def test_add_tax_gives_the_gross_amount() -> None:
    assert add_tax(1000, "FR") == 1200


def test_the_highest_rate_is_that_of_france() -> None:
    assert highest_rate() == rate_for("FR")
