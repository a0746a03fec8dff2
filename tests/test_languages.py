"""What each language's row and query see in a text, and that an edited tree is as good as a fresh one."""

from __future__ import annotations

import random

import pytest

from glm_lsp.languages import LANGUAGES, find_symbol, language_of, parse, parsed
from glm_lsp.terms import Span

CASES = {
    "a.py": (
        (
            "import os\n\n@cached\nclass Cart(Base):\n    rate = 1\n\n    @property\n    def total(self):\n"
            "        def inner():\n            pass\n        return inner\n\nasync def main(): ...\n"
        ),
        ["class Cart 3-11", "method Cart.total 7-11", "function Cart.total.inner 9-10", "function main 13-13"],
    ),
    "a.js": (
        (
            "export default class Cart {\n  constructor() {}\n  get total() { return 1 }\n  add = (x) => x\n  #hidden() {}\n}\n"
            "export const tax = (x) => x\nconst a = 1, b = function () {}\nfunction* gen() {}\nexports.sum = () => 0\n"
        ),
        [
            "class Cart 1-6",
            "method Cart.constructor 2-2",
            "method Cart.total 3-3",
            "method Cart.add 4-4",
            "method Cart.#hidden 5-5",
            "function tax 7-7",
            "function b 8-8",
            "function gen 9-9",
            "function exports.sum 10-10",
        ],
    ),
    "a.ts": (
        (
            "export interface Shape { area(): number }\nexport type Id = string\nenum Colour { Red }\n"
            "export abstract class Box<T> {\n  private f = () => 1\n  abstract g(): void\n  m(x: T) { return x }\n}\n"
            "namespace N { export function inner() {} }\nexport const h = async (): Promise<void> => {}\n"
        ),
        [
            "interface Shape 1-1",
            "type Id 2-2",
            "enum Colour 3-3",
            "class Box 4-8",
            "method Box.f 5-5",
            "method Box.m 7-7",
            "module N 9-9",
            "function N.inner 9-9",
            "function h 10-10",
        ],
    ),
    "a.tsx": ("export function App() {\n  return <b>hi</b>\n}\n", ["function App 1-3"]),
    "a.go": (
        (
            "package m\n\ntype Cart struct{}\n\ntype (\n\tA int\n\tB = string\n)\n\nfunc (c *Cart) Total() int { return 1 }\n"
            "func (c Stack[T]) Push() {}\nfunc main() {}\n"
        ),
        [
            "class Cart 3-3",
            "class A 6-6",
            "type B 7-7",
            "method Cart.Total 10-10",
            "method Stack.Push 11-11",
            "function main 12-12",
        ],
    ),
    "a.rs": (
        (
            "#[derive(Debug)]\n#[repr(C)]\npub struct Cart { n: u8 }\n\nimpl<T> Display for Cart {\n    #[inline]\n"
            "    fn fmt(&self) {}\n}\n\nmod tests {\n    #[test]\n    fn adds() {}\n}\nenum E { A }\ntrait T { fn sig(&self); }\n"
        ),
        [
            "class Cart 1-3",
            "method Cart.fmt 6-7",
            "module tests 10-13",
            "function tests.adds 11-12",
            "enum E 14-14",
            "interface T 15-15",
            "method T.sig 15-15",
        ],
    ),
    "a.java": (
        (
            "package p;\n@Entity\npublic class Cart {\n  Cart() {}\n  @Override\n  public int total() { return 1; }\n"
            "  enum Kind { A }\n}\ninterface I { void f(); }\nrecord R(int x) {}\n"
        ),
        [
            "class Cart 2-8",
            "method Cart.Cart 4-4",
            "method Cart.total 5-6",
            "enum Cart.Kind 7-7",
            "interface I 9-9",
            "method I.f 9-9",
            "class R 10-10",
        ],
    ),
    "a.c": (
        (
            "struct cart { int n; };\nenum kind { A };\ntypedef unsigned int u32;\nstatic int total(void) { return 1; }\n"
            "char **names(int n)\n{\n  return 0;\n}\n"
        ),
        ["class cart 1-1", "enum kind 2-2", "type u32 3-3", "function total 4-4", "function names 5-8"],
    ),
    "a.cpp": (
        (
            "namespace shop {\nclass Cart {\n  int total() const { return 1; }\n  ~Cart() {}\n};\n"
            "template <typename T>\nT& first(T& x) { return x; }\n}\nint shop::Cart::size() { return 0; }\nusing Id = int;\n"
        ),
        [
            "module shop 1-8",
            "class shop.Cart 2-5",
            "method shop.Cart.total 3-3",
            "method shop.Cart.~Cart 4-4",
            "function shop.first 6-7",
            "function shop.Cart.size 9-9",
            "type Id 10-10",
        ],
    ),
    "a.cs": (
        (
            "namespace Shop {\n  [Serializable]\n  public class Cart {\n    public int Total { get; set; }\n    Cart() {}\n"
            "    int Sum() { int F() => 1; return F(); }\n  }\n}\n"
        ),
        [
            "module Shop 1-8",
            "class Shop.Cart 2-7",
            "property Shop.Cart.Total 4-4",
            "method Shop.Cart.Cart 5-5",
            "method Shop.Cart.Sum 6-6",
            "function Shop.Cart.Sum.F 6-6",
        ],
    ),
    "Rakefile": (
        "module Shop\n  class Cart < Base\n    def total?\n      1\n    end\n    def self.make; end\n  end\nend\n",
        ["module Shop 1-8", "class Shop.Cart 2-7", "method Shop.Cart.total? 3-5", "method Shop.Cart.make 6-6"],
    ),
    "a.php": (
        "<?php\nnamespace A;\nfunction f() {}\n#[Attr]\nclass Cart {\n  public function total() { return 1; }\n}\nenum K {}\n",
        ["function f 3-3", "class Cart 4-7", "method Cart.total 6-6", "enum K 8-8"],
    ),
    "a.sh": ("set -e\nbuild() {\n  make\n}\nfunction clean { rm x; }\n", ["function build 2-4", "function clean 5-5"]),
    "a.lua": (
        "local function f() end\nfunction M.g() end\nfunction M:h() end\nlocal k = function() end\nM.l = function() end\n",
        ["function f 1-1", "function M.g 2-2", "function M.h 3-3", "function k 4-4", "function M.l 5-5"],
    ),
    "a.kt": (
        (
            "@Ann\ndata class Cart(val n: Int) : Base() {\n    val size = 1\n    fun total() {\n        val local = 2\n    }\n"
            "    companion object Maker {\n        fun make() = 1\n    }\n}\ninterface I {\n    fun f()\n}\nobject One\n"
            "typealias Id = Int\nfun String.shout() = 1\nval top = 4\n"
        ),
        [
            "class Cart 1-10",
            "property Cart.size 3-3",
            "method Cart.total 4-6",
            "class Cart.Maker 7-9",
            "method Cart.Maker.make 8-8",
            "interface I 11-13",
            "method I.f 12-12",
            "class One 14-14",
            "type Id 15-15",
            "function shout 16-16",
            "property top 17-17",
        ],
    ),
    "a.scala": (
        (
            "@ann class Cart[T](n: Int) extends Base {\n  val size = 1\n  def total(): Int = {\n    val local = 2\n    local\n  }\n}\n"
            "object One { type Id = Int }\ntrait I { def f: Int }\nenum E { case A }\n"
        ),
        [
            "class Cart 1-7",
            "property Cart.size 2-2",
            "method Cart.total 3-6",
            "class One 8-8",
            "type One.Id 8-8",
            "interface I 9-9",
            "method I.f 9-9",
            "enum E 10-10",
        ],
    ),
    "a.swift": (
        (
            "@objc public class Cart: Base {\n    let size = 1\n    init(n: Int) { }\n    func total() {\n        let local = 2\n    }\n}\n"
            "struct S {}\nenum E { case a }\nprotocol P { func f() }\nextension Cart { func more() {} }\ntypealias Id = Int\n"
            "func free() {}\nlet top = 4\n"
        ),
        [
            "class Cart 1-7",
            "property Cart.size 2-2",
            "method Cart.init 3-3",
            "method Cart.total 4-6",
            "class S 8-8",
            "enum E 9-9",
            "interface P 10-10",
            "method P.f 10-10",
            "method Cart.more 11-11",
            "type Id 12-12",
            "function free 13-13",
            "property top 14-14",
        ],
    ),
    "a.sql": (
        (
            "CREATE TABLE shop.users (id int);\nCREATE VIEW active AS SELECT 1;\nCREATE INDEX by_id ON users (id);\n"
            "CREATE OR REPLACE FUNCTION total(a int) RETURNS int AS $$ SELECT a; $$ LANGUAGE sql;\n"
            "CREATE TYPE mood AS ENUM ('a');\n"
            'CREATE TRIGGER "late" BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION total();\n'
        ),
        [
            "table users 1-1",
            "view active 2-2",
            "index by_id 3-3",
            "function total 4-4",
            "type mood 5-5",
            "trigger late 6-6",
        ],
    ),
    "a.md": (
        "# Guide\n\n## Install *now*\n```sh\n# none\n```\n### Deep\n## Use\ntext\n\nOld\n---\n",
        [
            "heading Guide 1-12",
            "heading Guide.Install *now* 3-7",
            "heading Guide.Install *now*.Deep 7-7",
            "heading Guide.Use 8-12",
            "heading Guide.Use.Old 11-12",
        ],
    ),
    "a.json": ('{\n  "name": "x",\n  "deep": {"no": 1}\n}\n', ["key name 2-2", "key deep 3-3"]),
    "a.yml": ('on: push\n"jobs":\n  build:\n    x: 1\n', ["key on 1-1", "key jobs 2-4"]),
    "a.toml": ("top = 1\n[tool.ruff]\nline = 2\n[[x]]\ny = 1\n", ["key top 1-1", "table tool.ruff 2-3", "table x 4-5"]),
    "a.html": ("<!doctype html>\n<p>hi</p>\n", []),
    "a.css": (
        "a:hover, .b { color: red }\n@keyframes spin { to { top: 0 } }\n",
        ["rule a:hover, .b 1-1", "rule spin 2-2"],
    ),
}
BROKEN = {
    "a.py": "def f(:\n    return 1\n",
    "a.js": "function f( {\n  return 1\n}\n",
    "a.ts": "interface A { x: }\n",
    "a.tsx": "const a = <b>hi</c\n",
    "a.go": "package m\nfunc f( {\n}\n",
    "a.rs": "fn f( {\n}\n",
    "a.java": "class A { void f( { } }\n",
    "a.c": "int f( {\n",
    "a.cpp": "class A { int f( { };\n",
    "a.cs": "class A { void F( { } }\n",
    "Rakefile": "def f(\n  1\n",
    "a.php": "<?php function f( { }\n",
    "a.sh": "if true; then\n  echo\n",
    "a.lua": "function f( end end\n",
    "a.kt": "fun f( {\n}\n",
    "a.scala": "object A { def f( = }\n",
    "a.swift": "func f( {\n",
    "a.sql": "CREATE TABLE (\n",
    "a.json": '{"a": }\n',
    "a.yml": "a: [1, 2\nb: 3\n",
    "a.toml": "a = = 1\n",
    "a.html": "<p class=>hi</p\n",
    "a.css": "a { color: red \n",
}


def seen(path: str, text: str) -> list[str]:
    tree = parse(path, text)
    assert tree is not None
    return [f"{s.kind} {s.qualified} {s.first_line}-{s.last_line}" for s in tree.symbols()]


@pytest.mark.parametrize("path", CASES)
def test_symbols_are_found_with_their_owners_and_everything_that_belongs_to_them(path: str) -> None:
    text, expected = CASES[path]
    assert seen(path, text) == expected


@pytest.mark.parametrize("path", BROKEN)
def test_sound_text_has_no_faults_and_broken_text_has_some_with_their_line(path: str) -> None:
    sound, broken = parse(path, CASES[path][0]), parse(path, BROKEN[path])
    assert sound is not None
    assert broken is not None
    assert sound.faults() == ()
    assert broken.faults()
    assert all(1 <= fault.line <= BROKEN[path].count("\n") + 1 and fault.message for fault in broken.faults())


def test_an_error_that_no_node_shows_is_a_fault_all_the_same() -> None:
    tree = parse("a.py", "        x = y\n    1property")
    assert tree is not None
    assert [fault.line for fault in tree.faults()] == [1]


def test_every_row_of_the_table_is_covered_by_these_cases() -> None:
    assert {language_of(path) for path in CASES} == set(LANGUAGES)


@pytest.mark.parametrize("path", ["README.txt", "Makefile", "a", "", "x.unknown"])
def test_other_files_have_no_language_and_no_tree(path: str) -> None:
    assert language_of(path) is None
    assert parse(path, "text") is None


def test_offsets_are_characters_whatever_the_text_holds() -> None:
    text = 'héllo = "ünïcode 🎉"\r\n\r\n\r\ndef größe():\r    """🎉"""\n\nclass Ä:\n    def ö(self): pass\n'
    tree = parse("a.py", text)
    assert tree is not None
    names = [(text[s.name_span.start : s.name_span.end], text[s.span.start : s.span.end][:5]) for s in tree.symbols()]
    assert names == [("größe", "def g"), ("Ä", "class"), ("ö", "def ö")]
    assert [s.first_line for s in tree.symbols()] == [4, 7, 8]


def test_half_a_surrogate_pair_does_not_move_what_follows() -> None:
    text = 'x = "\ud83d"\ndef f(): pass\n'
    tree = parse("a.py", text)
    assert tree is not None
    (symbol,) = tree.symbols()
    assert text[symbol.name_span.start : symbol.name_span.end] == "f"


def test_the_body_is_told_apart_from_the_head() -> None:
    text = "@x\ndef f(a):\n    return a\n"
    tree = parse("a.py", text)
    assert tree is not None
    body = tree.symbols()[0].body
    assert body is not None
    assert text[body.start : body.end] == "return a"


def test_a_symbol_is_found_by_its_whole_name_or_its_end() -> None:
    tree = parse("a.py", "class A:\n    def f(self): ...\n    def g(self): ...\nclass B:\n    def f(self): ...\n")
    assert tree is not None

    def found(wanted: str) -> list[str]:
        return [s.qualified for s in find_symbol(tree.symbols(), wanted)]

    assert found("A.f") == ["A.f"]
    assert found("A::g()") == ["A.g"]
    assert found("g") == ["A.g"]
    assert found("f") == ["A.f", "B.f"]
    assert found("h") == []


@pytest.mark.parametrize("offset", [10, 24], ids=["string", "comment"])
def test_strings_and_comments_are_literal(offset: int) -> None:
    tree = parse("a.py", 'x = """a\n  \tb"""\ny = 1  # c\n')
    assert tree is not None
    assert tree.in_literal(offset)
    assert not tree.in_literal(0)


def test_all_of_markdown_is_prose() -> None:
    tree = parse("a.md", "# Guide\ntext `total`\n```py\ntotal()\n```\n")
    assert tree is not None
    assert all(tree.in_literal(offset) for offset in range(len(tree.text) - 1))


PIECES = [
    "\n",
    " ",
    "    ",
    '"""',
    "'",
    "(",
    ")",
    "{",
    "}",
    "é🎉",
    "def f():\n",
    "class C:\n",
    "x = 1\n",
    "/*",
    "*/",
    "function q() {}\n",
    "export ",
    "@d\n",
    "#[x]\n",
    "\t",
    ";",
    "\r\n",
]


@pytest.mark.parametrize("path", CASES)
def test_an_edited_tree_sees_what_a_fresh_one_sees(path: str) -> None:
    seed = random.Random(path)
    for _ in range(15):
        text = CASES[path][0] * 3
        tree = parse(path, text)
        assert tree is not None
        for _ in range(6):
            tree.symbols()
            start = seed.randrange(len(text) + 1)
            end = min(len(text), start + seed.choice([0, 0, 1, 5, 30]))
            new = "".join(seed.choices(PIECES, k=seed.randrange(4)))
            text = text[:start] + new + text[end:]
            tree = tree.edited(Span(start, end), new)
            fresh = parse(path, text)
            assert tree is not None
            assert fresh is not None
            assert tree.text == text
            if fresh.faults() or tree.faults():
                # Error recovery may choose another way through a broken text; only sound ones have one reading.
                assert bool(tree.faults()) == bool(fresh.faults())
                tree = fresh
            else:
                assert tree.symbols() == fresh.symbols()


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("a.py", "def f(x):\n    return x + 1\n\n" * 16_667, 16_667),
        ("a.js", "function a(b){return b+1};" * 40_000, 40_000),
        ("a.py", "(" * 100_000, 0),
        ("a.json", "[" * 100_000, 0),
        ("a.py", "", 0),
        ("a.css", "\0" * 10, 0),
    ],
    ids=["50,000 lines", "one line of 1 MB", "open brackets", "deep JSON", "empty", "NUL"],
)
def test_huge_and_hopeless_texts_are_parsed(path: str, text: str, count: int) -> None:
    tree = parse(path, text)
    assert tree is not None
    tree.faults()
    assert len(tree.symbols()) == count


def test_a_text_that_takes_too_long_has_no_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed, "SECONDS", 0.0)
    assert parse("a.html", "<a>" * 20_000) is None
