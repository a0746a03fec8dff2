"""What facts() finds in a text of each language, and that no input is too much for it."""

from __future__ import annotations

import pytest

from glm_lsp.languages import LANGUAGES, Definition, Facts, facts, language_of, parse
from glm_lsp.languages.facts import DOC, LONGEST, SIGNATURE

LISTED = [
    "Python",
    "JavaScript",
    "TypeScript",
    "TSX",
    "Go",
    "Rust",
    "Java",
    "C",
    "C++",
    "C#",
    "Ruby",
    "PHP",
    "Kotlin",
    "Scala",
    "Swift",
    "Lua",
    "Bash",
    "SQL",
    "Markdown",
]
"""The languages that the index has to know."""

# Of each definition: kind, qualified name, first to last line, line:column of the name, signature, documentation.
CASES: dict[str, tuple[str, list[str], str, tuple[str, ...]]] = {
    "shop/cart.py": (
        (
            '"""Shop."""\n'
            "import os, a.b as ab\n"
            "from . import rates\n"
            "from ..shop.tax import vat as tax\n"
            "\n"
            "# Net rate.\n"
            "# More.\n"
            "RATE = 1\n"
            "\n"
            "@cached(\n"
            "    size=3,\n"
            ")\n"
            "class Cart(Base, metaclass=Meta):\n"
            "    '''A cart.\n"
            "\n"
            "    More.\n"
            "    '''\n"
            "\n"
            "    def total(\n"
            "        self, x: Item,\n"
            "    ) -> int:\n"
            '        r"""Adds up."""\n'
            "        return tax(x.price) + RATE  # tax again\n"
            "\n"
            "\n"
            "async def main(): ...\n"
        ),
        [
            "constant RATE 8-8 8:0 | RATE = 1 | Net rate.",
            "class Cart 10-23 13:6 | class Cart(Base, metaclass=Meta) | A cart.",
            "method Cart.total 19-23 19:8 | def total( self, x: Item, ) -> int | Adds up.",
            "function main 26-26 26:10 | async def main() |",
        ],
        (
            "Base:13 Item:20 Meta:13 RATE:23 a:2 ab:2 b:2 cached:10 int:21 metaclass:13 os:2 price:23 "
            "rates:3 self:20 shop:4 size:11 tax:4,23 vat:4 x:20,23"
        ),
        ("os", "a.b", ".", "..shop.tax"),
    ),
    "a.js": (
        (
            'import Cart, { a } from "./cart"\n'
            "export { b } from '../b.js'\n"
            'const fs = require("fs")\n'
            'const lazy = () => import("./lazy")\n'
            "\n"
            "/**\n"
            " * Adds up.\n"
            " * @param x one\n"
            " */\n"
            "export async function total(x, { y = 1 }) {\n"
            "  // total in words\n"
            "  return new Cart(x.price).add(`${y}`)\n"
            "}\n"
            "// A box.\n"
            "class Box extends Cart {\n"
            "  #n = 1\n"
            "  get size() { return this.#n }\n"
            "}\n"
        ),
        [
            'constant fs 3-3 3:6 | fs = require("fs") |',
            "function lazy 4-4 4:6 | const lazy = () |",
            "function total 10-13 10:22 | export async function total(x, { y = 1 }) | Adds up.",
            "class Box 15-18 15:6 | class Box extends Cart | A box.",
            "method Box.size 17-17 17:6 | get size() |",
        ],
        ("#n:16,17 Cart:1,12,15 a:1 add:12 b:2 price:12 require:3 x:10,12 y:10,12"),
        ("./cart", "../b.js", "fs", "./lazy"),
    ),
    "a.ts": (
        (
            'import type { Item } from "./item"\n'
            'import fs = require("fs")\n'
            "\n"
            "/** A shape. */\n"
            "@Component({ a: 1 })\n"
            "export class Shape<T extends Item> implements Drawable {\n"
            "  constructor(private item: Item) { super() }\n"
            "  area(scale: number): Promise<number> { return this.item.price * scale }\n"
            "}\n"
            "export const twice = (x: (n: number) => void): number => { return x }\n"
            "type Pair = [Item, Item]\n"
        ),
        [
            "class Shape 5-9 6:13 | export class Shape<T extends Item> implements Drawable | A shape.",
            "method Shape.constructor 7-7 7:2 | constructor(private item: Item) |",
            "method Shape.area 8-8 8:2 | area(scale: number): Promise<number> |",
            "function twice 10-10 10:13 | export const twice = (x: (n: number) => void): number |",
            "type Pair 11-11 11:5 | type Pair = [Item, Item] |",
        ],
        ("Component:5 Drawable:6 Item:1,6,7,11 Promise:8 T:6 a:5 fs:2 item:7,8 n:10 price:8 scale:8 x:10"),
        ("./item", "fs"),
    ),
    "a.tsx": (
        (
            'import { Box } from "./box"\n'
            "// The app.\n"
            "export const App = ({ title }: Props) => {\n"
            "  return <Box title={title}>text</Box>\n"
            "}\n"
        ),
        [
            "function App 3-5 3:13 | export const App = ({ title }: Props) | The app.",
        ],
        ("Box:1,4 Props:3 title:3,4"),
        ("./box",),
    ),
    "a.go": (
        (
            "package shop\n"
            "\n"
            "import (\n"
            '\t"fmt"\n'
            '\tr "shop/rates"\n'
            ")\n"
            "\n"
            "// Cart holds items.\n"
            "// Many.\n"
            "type Cart struct {\n"
            "\tItems []Item\n"
            "}\n"
            "\n"
            "// Total adds up.\n"
            "func (c *Cart) Total(rate float64) (int, error) {\n"
            "\treturn fmt.Sum(c.Items, r.Rate), nil\n"
            "}\n"
        ),
        [
            "class Cart 10-12 10:5 | type Cart struct | Cart holds items.",
            "method Cart.Total 15-17 15:15 | func (c *Cart) Total(rate float64) (int, error) | Total adds up.",
        ],
        ("Cart:15 Item:11 Items:11,16 Rate:16 Sum:16 c:15,16 error:15 float64:15 fmt:16 int:15 r:5,16 rate:15 shop:1"),
        ("fmt", "shop/rates"),
    ),
    "a.rs": (
        (
            "use std::collections::{HashMap, HashSet};\n"
            "use crate::rates as r;\n"
            "use super::tax::*;\n"
            "mod items;\n"
            "\n"
            "/// A cart.\n"
            "#[derive(Debug)]\n"
            "pub struct Cart { items: Vec<Item> }\n"
            "\n"
            "impl Cart {\n"
            "    /// Adds up.\n"
            "    pub fn total(&self, rate: f64) -> f64 {\n"
            "        r::vat(self.items.len()) // total\n"
            "    }\n"
            "}\n"
        ),
        [
            "module items 4-4 4:4 | mod items |",
            "class Cart 7-8 8:11 | pub struct Cart | A cart.",
            "method Cart.total 12-14 12:11 | pub fn total(&self, rate: f64) -> f64 | Adds up.",
        ],
        (
            "Cart:10 Debug:7 HashMap:1 HashSet:1 Item:8 Vec:8 collections:1 derive:7 items:8,13 len:13 "
            "r:2,13 rate:12 rates:2 std:1 tax:3 vat:13"
        ),
        ("std::collections", "crate::rates", "super::tax", "items"),
    ),
    "Cart.java": (
        (
            "package shop;\n"
            "import java.util.List;\n"
            "import static shop.Tax.*;\n"
            "\n"
            "/**\n"
            " * A cart.\n"
            " */\n"
            "@Entity\n"
            "public class Cart extends Base {\n"
            "  // Adds up.\n"
            "  @Override\n"
            "  public int total(List<Item> items) throws Bad {\n"
            "    return Tax.vat(items.size());\n"
            "  }\n"
            "}\n"
        ),
        [
            "class Cart 8-15 9:13 | public class Cart extends Base | A cart.",
            "method Cart.total 11-14 12:13 | public int total(List<Item> items) throws Bad | Adds up.",
        ],
        (
            "Bad:12 Base:9 Entity:8 Item:12 List:2,12 Override:11 Tax:3,13 items:12,13 java:2 shop:1,3 "
            "size:13 util:2 vat:13"
        ),
        ("java.util.List", "shop.Tax"),
    ),
    "a.c": (
        (
            "#include <stdio.h>\n"
            '#include "cart.h"\n'
            "#define VAT(x) \\\n"
            "  ((x) * 2)\n"
            "\n"
            "/* Adds up. */\n"
            "static int total(struct cart *c,\n"
            "                 int rate)\n"
            "{\n"
            "  return vat(c->sum) * rate;\n"
            "}\n"
        ),
        [
            "constant VAT 3-4 3:8 | #define VAT(x) |",
            "function total 7-11 7:11 | static int total(struct cart *c, int rate) | Adds up.",
        ],
        ("c:7,10 cart:7 rate:8,10 sum:10 vat:10 x:3"),
        ("stdio.h", "cart.h"),
    ),
    "a.cpp": (
        (
            "#include <vector>\n"
            "using std::vector;\n"
            "\n"
            "namespace shop {\n"
            "// A cart.\n"
            "class Cart : public Base {\n"
            " public:\n"
            "  int total(const Item& x) const { return vat(x.price); }\n"
            "};\n"
            "}\n"
            "int shop::Cart::size() { return items.size(); }\n"
        ),
        [
            "module shop 4-10 4:10 | namespace shop |",
            "class shop.Cart 6-9 6:6 | class Cart : public Base | A cart.",
            "method shop.Cart.total 8-8 8:6 | int total(const Item& x) const |",
            "function shop.Cart.size 11-11 11:16 | int shop::Cart::size() |",
        ],
        ("Base:6 Cart:11 Item:8 items:11 price:8 shop:11 size:11 std:2 vat:8 vector:2 x:8"),
        ("vector", "std::vector"),
    ),
    "a.cs": (
        (
            "using System;\n"
            "using System.Collections.Generic;\n"
            "using Tax = Shop.Tax;\n"
            "\n"
            "namespace Shop {\n"
            "  /// <summary>\n"
            "  /// A cart.\n"
            "  /// </summary>\n"
            "  [Serializable]\n"
            "  public class Cart : Base {\n"
            "    public int Total(List<Item> items) { return Tax.Vat(items.Count); }\n"
            "  }\n"
            "}\n"
        ),
        [
            "module Shop 5-13 5:10 | namespace Shop |",
            "class Shop.Cart 9-12 10:15 | public class Cart : Base | A cart.",
            "method Shop.Cart.Total 11-11 11:15 | public int Total(List<Item> items) |",
        ],
        (
            "Base:10 Collections:2 Count:11 Generic:2 Item:11 List:11 Serializable:9 Shop:3 System:1,2 "
            "Tax:3,11 Vat:11 items:11"
        ),
        ("System", "System.Collections.Generic", "Shop.Tax"),
    ),
    "a.rb": (
        (
            'require "json"\n'
            'require_relative "../cart"\n'
            "\n"
            "# A cart.\n"
            "class Cart < Base\n"
            "  # Adds up.\n"
            "  def total(items, rate: 1)\n"
            "    @sum = Tax.vat(items.size) * rate\n"
            "  end\n"
            "end\n"
        ),
        [
            "class Cart 5-10 5:6 | class Cart < Base | A cart.",
            "method Cart.total 7-9 7:6 | def total(items, rate: 1) | Adds up.",
        ],
        ("@sum:8 Base:5 Tax:8 items:7,8 rate:7,8 require:1 require_relative:2 size:8 vat:8"),
        ("json", "../cart"),
    ),
    "a.php": (
        (
            "<?php\n"
            "namespace Shop;\n"
            "use Shop\\Tax\\Vat;\n"
            "require_once 'cart.php';\n"
            "\n"
            "/** A cart. */\n"
            "#[Entity]\n"
            "final class Cart extends Base {\n"
            "  // Adds up.\n"
            "  public function total(Item $item): int { return Vat::of($item->price); }\n"
            "}\n"
        ),
        [
            "class Cart 7-11 8:12 | final class Cart extends Base | A cart.",
            "method Cart.total 10-10 10:18 | public function total(Item $item): int | Adds up.",
        ],
        ("Base:8 Entity:7 Item:10 Shop:2,3 Tax:3 Vat:3,10 item:10 of:10 price:10"),
        ("Shop\\Tax\\Vat", "cart.php"),
    ),
    "a.sh": (
        (
            "source ./lib.sh\n"
            '. "$HOME/rates.sh"\n'
            "\n"
            "# Builds it.\n"
            "build() {\n"
            "  local target=$1\n"
            '  make "$target"\n'
            "}\n"
            "build all\n"
        ),
        [
            "function build 5-8 5:0 | build() | Builds it.",
        ],
        (".:2 1:6 HOME:2 build:9 make:7 source:1 target:6,7"),
        ("./lib.sh", "$HOME/rates.sh"),
    ),
    "a.lua": (
        (
            'local json = require("json")\n'
            'local tax = require "shop.tax"\n'
            "\n"
            "-- Adds up.\n"
            "function Cart.total(items, rate)\n"
            "  return tax.vat(#items) * rate\n"
            "end\n"
        ),
        [
            "function Cart.total 5-7 5:14 | function Cart.total(items, rate) | Adds up.",
        ],
        ("Cart:5 items:5,6 json:1 rate:5,6 require:1,2 tax:2,6 vat:6"),
        ("json", "shop.tax"),
    ),
    "a.kt": (
        (
            "package shop\n"
            "import shop.tax.Vat\n"
            "import shop.rates.*\n"
            "\n"
            "/** A cart. */\n"
            "@Entity\n"
            "data class Cart(val items: List<Item>) : Base() {\n"
            "    val size: Int = 3\n"
            "\n"
            "    // Adds up.\n"
            "    fun total(rate: Double): Double {\n"
            "        val local = Vat.of(items)\n"
            "        return local * rate\n"
            "    }\n"
            "}\n"
            "\n"
            "interface Shape {\n"
            "    fun area(): Int\n"
            "}\n"
            "object Shop\n"
            "typealias Id = Int\n"
            "fun String.shout(): String = uppercase()\n"
        ),
        [
            "class Cart 6-15 7:11 | data class Cart(val items: List<Item>) : Base() | A cart.",
            "property Cart.size 8-8 8:8 | val size: Int = 3 |",
            "method Cart.total 11-14 11:8 | fun total(rate: Double): Double | Adds up.",
            "interface Shape 17-19 17:10 | interface Shape |",
            "method Shape.area 18-18 18:8 | fun area(): Int |",
            "class Shop 20-20 20:7 | object Shop |",
            "type Id 21-21 21:10 | typealias Id = Int |",
            "function shout 22-22 22:11 | fun String.shout(): String |",
        ],
        (
            "Base:7 Double:11 Entity:6 Int:8,18,21 Item:7 List:7 String:22 Vat:2,12 items:7,12 local:12,13 "
            "of:12 rate:11,13 rates:3 shop:1,2,3 tax:2 uppercase:22"
        ),
        ("shop.tax.Vat", "shop.rates"),
    ),
    "a.scala": (
        (
            "package shop\n"
            "import shop.tax.Vat\n"
            "import shop.rates.{Rate, Other => O}\n"
            "import shop.all._\n"
            "\n"
            "/** A cart. */\n"
            "@entity\n"
            "class Cart(val items: List[Item]) extends Base {\n"
            "  val size = 3\n"
            "  // Adds up.\n"
            "  def total(rate: Double): Double = {\n"
            "    val local = Vat.of(items)\n"
            "    local * rate\n"
            "  }\n"
            "}\n"
            "trait Shape { def area: Int }\n"
            "object Shop { type Id = Int }\n"
            "enum Colour { case Red, Green }\n"
        ),
        [
            "class Cart 7-15 8:6 | class Cart(val items: List[Item]) extends Base | A cart.",
            "property Cart.size 9-9 9:6 | val size = 3 |",
            "method Cart.total 11-14 11:6 | def total(rate: Double): Double | Adds up.",
            "interface Shape 16-16 16:6 | trait Shape |",
            "method Shape.area 16-16 16:18 | def area: Int |",
            "class Shop 17-17 17:7 | object Shop |",
            "type Shop.Id 17-17 17:19 | type Id = Int |",
            "enum Colour 18-18 18:5 | enum Colour |",
        ],
        (
            "Base:8 Double:11 Green:18 Int:16,17 Item:8 List:8 O:3 Other:3 Rate:3 Red:18 Vat:2,12 all:4 "
            "entity:7 items:8,12 local:12,13 of:12 rate:11,13 rates:3 shop:1,2,3,4 tax:2"
        ),
        ("shop.tax.Vat", "shop.rates.{Rate, Other => O}", "shop.all._"),
    ),
    "a.swift": (
        (
            "import Foundation\n"
            "import struct Shop.Item\n"
            "\n"
            "/// A cart.\n"
            "@objc public final class Cart: Base {\n"
            "    let size = 3\n"
            "    init(items: [Item]) { self.items = items }\n"
            "    /// Adds up.\n"
            "    func total(rate: Double) throws -> Double {\n"
            "        let local = Vat.of(items)\n"
            "        return local * rate\n"
            "    }\n"
            "}\n"
            "struct Point {}\n"
            "enum Colour { case red }\n"
            "protocol Shape { func area() -> Int }\n"
            "extension Cart {\n"
            "    func extra() {}\n"
            "}\n"
            "typealias Id = Int\n"
        ),
        [
            "class Cart 5-13 5:25 | public final class Cart: Base | A cart.",
            "property Cart.size 6-6 6:8 | let size = 3 |",
            "method Cart.init 7-7 7:4 | init(items: [Item]) |",
            "method Cart.total 9-12 9:9 | func total(rate: Double) throws -> Double | Adds up.",
            "class Point 14-14 14:7 | struct Point |",
            "enum Colour 15-15 15:5 | enum Colour |",
            "interface Shape 16-16 16:9 | protocol Shape |",
            "method Shape.area 16-16 16:22 | func area() -> Int |",
            "method Cart.extra 18-18 18:9 | func extra() |",
            "type Id 20-20 20:10 | typealias Id = Int |",
        ],
        (
            "Base:5 Cart:17 Double:9 Foundation:1 Int:16,20 Item:2,7 Shop:2 Vat:10 items:7,10 local:10,11 "
            "objc:5 of:10 rate:9,11 red:15"
        ),
        ("Foundation", "Shop.Item"),
    ),
    "a.sql": (
        (
            "-- People.\n"
            "CREATE TABLE shop.users (\n"
            "  id int PRIMARY KEY,\n"
            "  name text\n"
            ");\n"
            "/* Those who came. */\n"
            "CREATE VIEW active AS SELECT id FROM users u WHERE u.name = 'total';\n"
            "CREATE UNIQUE INDEX users_name ON users (name);\n"
            "CREATE FUNCTION total(a int) RETURNS int AS $$ SELECT a; $$ LANGUAGE sql;\n"
        ),
        [
            "table users 2-5 2:18 | CREATE TABLE shop.users ( id int PRIMARY KEY, name text ) | People.",
            "view active 7-7 7:12 | CREATE VIEW active AS SELECT id FROM users u WHERE u.name = 'total' | Those who came.",
            "index users_name 8-8 8:20 | CREATE UNIQUE INDEX users_name ON users (name) |",
            "function total 9-9 9:16 | CREATE FUNCTION total(a int) RETURNS int |",
        ],
        ("a:9 id:3,7 name:4,7,8 shop:2 sql:9 u:7 users:7,8"),
        (),
    ),
    "a.md": (
        (
            "# Guide\n"
            'See [the cart](./cart.md#top "t"), [web](https://example.org) and `[no](x)`.\n'
            "\n"
            "## Install *now*\n"
            "```sh\n"
            "# not a heading\n"
            "[no](code.md)\n"
            "```\n"
            "### Deep\n"
            "## Use\n"
            "text\n"
            "[ref]: ../ref.md\n"
            "\n"
            "Old style\n"
            "---------\n"
        ),
        [
            "heading Guide 1-15 1:2 | # Guide |",
            "heading Guide.Install *now* 4-9 4:3 | ## Install *now* |",
            "heading Guide.Install *now*.Deep 9-9 9:4 | ### Deep |",
            "heading Guide.Use 10-15 10:3 | ## Use |",
            "heading Guide.Use.Old style 14-15 14:0 | Old style |",
        ],
        (""),
        ("./cart.md#top",),
    ),
}


def told(definition: Definition) -> str:
    d = definition
    place = f"{d.first_line}-{d.last_line} {d.line}:{d.column}"
    return f"{d.kind} {d.qualified} {place} | {d.signature} | {d.doc}".rstrip()


def found(path: str, text: str) -> Facts:
    facts_of_it = facts(path, text)
    assert facts_of_it is not None
    return facts_of_it


@pytest.mark.parametrize("path", CASES)
def test_definitions_come_with_their_place_signature_and_documentation(path: str) -> None:
    text, expected, _, _ = CASES[path]
    assert [told(d) for d in found(path, text).definitions] == expected


@pytest.mark.parametrize("path", CASES)
def test_names_count_as_used_where_they_stand_but_not_in_strings_comments_and_their_own_definition(path: str) -> None:
    text, _, expected, _ = CASES[path]
    uses = found(path, text).uses
    assert " ".join(f"{name}:{','.join(map(str, lines))}" for name, lines in sorted(uses.items())) == expected


@pytest.mark.parametrize("path", CASES)
def test_imports_are_told_as_written(path: str) -> None:
    text, _, _, expected = CASES[path]
    assert found(path, text).imports == expected


@pytest.mark.parametrize("path", CASES)
def test_what_edits_call_a_symbol_is_a_definition_too(path: str) -> None:
    text = CASES[path][0]
    tree = parse(path, text)
    assert tree is not None
    symbols = [(s.kind, s.name, s.qualified, s.first_line, s.last_line) for s in tree.symbols()]
    definitions = found(path, text).definitions
    known = [(d.kind, d.name, d.qualified, d.first_line, d.last_line) for d in definitions if d.kind != "constant"]
    assert known == symbols


def test_every_listed_language_has_a_row_and_a_case() -> None:
    assert set(LISTED) <= {language.name for language in LANGUAGES}
    cases = {language.name for language in map(language_of, CASES) if language is not None}
    assert cases == set(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_a_listed_language_has_a_grammar_that_loads_and_a_query_with_the_captures(name: str) -> None:
    (row,) = (language for language in LANGUAGES if language.name == name)
    _, symbols = row.load()
    _, whole = row.load_whole()
    assert symbols is not None
    assert whole is not None
    captures = {whole.capture_name(i) for i in range(whole.capture_count)}
    assert "name" in captures
    assert any(capture.startswith("definition.") for capture in captures)
    if name != "Markdown":
        assert "reference" in captures
    if name != "SQL":
        assert "import" in captures
    # Edits pay for symbols alone.
    assert not {"reference", "import"} & {symbols.capture_name(i) for i in range(symbols.capture_count)}


def test_several_names_of_one_declaration_stand_beside_each_other() -> None:
    definitions = found("a.go", "package m\n\nvar a, b int\n").definitions
    assert [d.qualified for d in definitions] == ["a", "b"]


def test_a_name_used_on_the_line_that_defines_it_counts_there() -> None:
    assert found("a.py", "def f(): return f\n").uses == {"f": (1,)}


def test_names_inside_an_interpolated_string_count() -> None:
    assert found("a.py", "x = f'{cart.total} cart'\n").uses == {"cart": (1,), "total": (1,)}


def test_a_comment_with_a_line_between_belongs_to_nobody() -> None:
    (definition,) = found("a.py", "# Licence.\n\ndef f(): pass\n").definitions
    assert definition.doc == ""


def test_the_first_line_that_says_something_documents() -> None:
    (definition,) = found("a.js", "// ----------\n// Adds up.\n// ----------\nfunction f() {}\n").definitions
    assert definition.doc == "Adds up."


def test_signature_and_documentation_are_cut() -> None:
    (definition,) = found("a.py", f"def f({'a, ' * 500}): '{'word ' * 500}'\n").definitions
    assert len(definition.signature) == SIGNATURE
    assert len(definition.doc) == DOC


def test_data_in_disguise_is_no_name() -> None:
    assert set(found("a.py", f"{'x' * (LONGEST + 1)} = y\n").uses) == {"y"}


def test_columns_are_characters_and_lines_end_as_in_editors() -> None:
    text = "\ufeff# é🎉\r# one more\r\nclass Größe:\n    é = '🎉'\n    def ö(self): return 'ü', größe\r\n"
    told_of = found("a.py", text)
    assert [(d.qualified, d.line, d.column, d.first_line, d.last_line) for d in told_of.definitions] == [
        ("Größe", 3, 6, 3, 5),
        ("Größe.ö", 5, 8, 5, 5),
    ]
    assert told_of.uses == {"é": (4,), "self": (5,), "größe": (5,)}


def test_windows_line_ends_change_nothing() -> None:
    for path, (text, expected, _, imports) in CASES.items():
        windows = found(path, text.replace("\n", "\r\n"))
        assert [told(d) for d in windows.definitions] == expected
        assert windows.imports == imports
        assert windows.uses == found(path, text).uses


@pytest.mark.parametrize("path", ["notes.txt", "Makefile", ""])
def test_without_a_grammar_there_are_no_facts(path: str) -> None:
    assert facts(path, "text") is None


def test_a_language_without_definitions_has_empty_facts() -> None:
    assert found("a.html", "<p>hi</p>") == Facts((), {}, ())


HOSTILE = {
    "empty": "",
    "NULs": "\0" * 1_000 + "def f(): pass\n",
    "half a surrogate pair": "x = '\ud83d'\ndef f(): pass\n",
    "bytes that were no text": b"\xff\xfe = caf\xe9(\x80)\n".decode("utf-8", "surrogateescape"),
    "one endless line": "a(b);" * 20_000,
    "deep nesting": "(" * 3_000 + "x" + ")" * 3_000,
    "blocks in blocks": "".join(f"{' ' * i}if x:\n" for i in range(300)),
    "no end of a string": '"""' + "word " * 5_000,
    "no end of a comment": "/*" + "word " * 2_000,
    "only a mark": "\ufeff",
    "carriage returns alone": "def f():\r  pass\r" * 100,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("path", CASES)
def test_hostile_text_gives_facts_or_none(path: str, text: str) -> None:
    of_it = facts(path, text)
    lines = text.count("\n") + text.count("\r") + 1
    if of_it is not None:
        assert all(1 <= d.first_line <= d.line <= d.last_line <= lines for d in of_it.definitions)
        assert all(0 < line <= lines for where in of_it.uses.values() for line in where)


@pytest.mark.parametrize("path", ["a.py", "a.js", "a.go", "a.swift", "a.sql", "a.json"])
def test_brackets_that_never_close_are_given_up(path: str) -> None:
    of_it = facts(path, "(" * 100_000, seconds=2.0)
    assert of_it is None or of_it == Facts((), {}, ())


def test_what_takes_too_long_has_no_facts() -> None:
    assert facts("a.py", "x = [1, 2]\n" * 10_000, seconds=0.0) is None
