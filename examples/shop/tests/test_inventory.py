from shop.inventory import add_stock, is_available, sold_out


def test_add_stock_leaves_the_old_stock_alone() -> None:
    stock = {"tea": 1}
    assert add_stock(stock, "tea", 2) == {"tea": 3}
    assert stock == {"tea": 1}


def test_is_available_compares_quantities() -> None:
    assert is_available({"tea": 2}, "tea", 2)
    assert not is_available({"tea": 2}, "cup")


def test_sold_out_lists_empty_shelves_in_order() -> None:
    assert sold_out({"tea": 0, "cup": 3, "pot": 0}) == ["pot", "tea"]
