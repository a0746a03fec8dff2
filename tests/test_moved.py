"""Import statements that name a file which moves: changed where they are certain, and left alone everywhere else."""

from __future__ import annotations

import pytest

from glm_lsp.edits.moved import updated

FILES = (
    "app.py",
    "cart.py",
    "shop/__init__.py",
    "shop/tax.py",
    "shop/deep/__init__.py",
    "shop/deep/er.py",
    "src/lib/one.py",
)


@pytest.mark.parametrize(
    ("path", "text", "moved", "expected"),
    [
        ("app.py", "import cart\ncart.total()\n", ("cart.py", "basket.py"), "import basket as cart\ncart.total()\n"),
        ("app.py", "import cart as c\n", ("cart.py", "basket.py"), "import basket as c\n"),
        ("app.py", "from cart import total\n", ("cart.py", "basket.py"), "from basket import total\n"),
        ("app.py", "import os, cart, re\n", ("cart.py", "b.py"), "import os, b as cart, re\n"),
        (
            "app.py",
            "import shop.tax\nx = 'é'; y = shop.tax.rate() + shop.tax.more\n# shop.tax\n",
            ("shop/tax.py", "shop/vat.py"),
            "import shop.vat\nx = 'é'; y = shop.vat.rate() + shop.vat.more\n# shop.tax\n",
        ),
        ("app.py", "import shop.tax\nprint(shop)\n", ("shop/tax.py", "shop/vat.py"), None),
        ("app.py", "import shop.tax\ndef f(shop): pass\n", ("shop/tax.py", "shop/vat.py"), None),
        ("app.py", "from shop import tax\n", ("shop/tax.py", "shop/vat.py"), "from shop import vat as tax\n"),
        ("app.py", "from shop import tax as t, x\n", ("shop/tax.py", "shop/vat.py"), "from shop import vat as t, x\n"),
        ("app.py", "from shop import tax\n", ("shop/tax.py", "lib/vat.py"), "from lib import vat as tax\n"),
        ("app.py", "from shop import tax, x\n", ("shop/tax.py", "lib/vat.py"), None),
        (
            "app.py",
            "from shop.tax import (\n    rate,  # é\n)\n",
            ("shop/tax.py", "shop/deep/vat.py"),
            "from shop.deep.vat import (\n    rate,  # é\n)\n",
        ),
        ("shop/deep/er.py", "from ..tax import rate\n", ("shop/tax.py", "shop/vat.py"), "from ..vat import rate\n"),
        ("shop/deep/er.py", "from .. import tax\n", ("shop/tax.py", "shop/vat.py"), "from .. import vat as tax\n"),
        ("shop/deep/er.py", "from ..tax import rate\n", ("shop/tax.py", "shop/deep/tax.py"), "from .tax import rate\n"),
        ("shop/tax.py", "from .deep import er\n", ("shop/tax.py", "shop/deep/tax.py"), "from . import er\n"),
        ("shop/tax.py", "from .deep.er import x\n", ("shop/tax.py", "shop/vat.py"), None),
        ("app.py", "from lib.one import x\n", ("src/lib/one.py", "src/lib/two.py"), "from lib.two import x\n"),
        ("app.py", "s = 'import cart'\n# import cart\n", ("cart.py", "basket.py"), None),
        ("app.py", "import cart\n", ("cart.py", "my-cart.py"), None),
        ("app.py", "import cart(\n", ("cart.py", "basket.py"), None),
        ("app.py", "from shop import x\n", ("shop/__init__.py", "shop/init.py"), None),
        ("app.py", "import cartwheel\nfrom cart.x import y\n", ("cart.py", "basket.py"), None),
    ],
)
def test_python(path: str, text: str, moved: tuple[str, str], expected: str | None) -> None:
    assert updated(path, text, dict([moved]), FILES) == (text if expected is None else expected)


def test_a_name_that_two_files_could_have_is_left_alone() -> None:
    text = "from lib.one import x\n"
    assert updated("app.py", text, {"src/lib/one.py": "src/lib/two.py"}, (*FILES, "lib/one.py")) == text


SCRIPTS = ("app.ts", "lib/cart.ts", "lib/index.ts", "lib/view.tsx", "old/plain.js", "old/index.js")


@pytest.mark.parametrize(
    ("path", "text", "moved", "expected"),
    [
        (
            "app.ts",
            "import { a } from './lib/cart';\n",
            ("lib/cart.ts", "lib/basket.ts"),
            "import { a } from './lib/basket';\n",
        ),
        ("app.ts", 'export * from "./lib/cart.js"\n', ("lib/cart.ts", "lib/b.ts"), 'export * from "./lib/b.js"\n'),
        (
            "app.ts",
            "const a = await import('./lib/view')\n",
            ("lib/view.tsx", "view.tsx"),
            "const a = await import('./view')\n",
        ),
        ("app.ts", "import './lib'\n", ("lib/index.ts", "core/index.ts"), "import './core'\n"),
        (
            "old/index.js",
            "const p = require('./plain.js')\n",
            ("old/plain.js", "new/plain.js"),
            "const p = require('../new/plain.js')\n",
        ),
        (
            "lib/view.tsx",
            "import a from './cart'\nimport b from '../app'\n",
            ("lib/view.tsx", "view.tsx"),
            "import a from './lib/cart'\nimport b from './app'\n",
        ),
        ("app.ts", "// import './lib/cart'\nconst s = \"from './lib/cart'\"\n", ("lib/cart.ts", "lib/b.ts"), None),
        ("app.ts", "import x from 'lib/cart'\nit.require('./lib/cart')\n", ("lib/cart.ts", "lib/b.ts"), None),
        ("app.ts", "import x from './lib/cart'\n", ("lib/cart.ts", "lib/cart.json"), None),
    ],
)
def test_scripts(path: str, text: str, moved: tuple[str, str], expected: str | None) -> None:
    assert updated(path, text, dict([moved]), SCRIPTS) == (text if expected is None else expected)
