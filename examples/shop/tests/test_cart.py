import pytest

from shop.cart import Item, apply_discount, count_items, remove_item, total

ITEMS = [Item("tea", 450, 2), Item("cup", 1200)]


def test_total_adds_up_prices_and_quantities() -> None:
    assert total(ITEMS) == 2100


def test_count_items_adds_up_quantities() -> None:
    assert count_items(ITEMS) == 3


def test_remove_item_leaves_the_others() -> None:
    assert remove_item(ITEMS, "tea") == [Item("cup", 1200)]


def test_apply_discount_takes_a_share_off() -> None:
    assert apply_discount(2100, 10) == 1890


def test_apply_discount_refuses_more_than_everything() -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        apply_discount(2100, 101)
