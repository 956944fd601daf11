#!/usr/bin/env bash
# Two templates of one Mako lookup without a module_directory can share one co_filename: every character of the path
# that is no letter, digit or underscore becomes an underscore. Mako's own report of an error then shows the line of
# the other template.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps Mako==1.4.3 MarkupSafe==3.0.4 \
    || { echo "the packages could not be installed" >&2; exit 2; }

mkdir -p templates/shop templates/shop_cart
printf 'head of shop/cart_item\n\n${where()}\n${1 / zero}\n' > templates/shop/cart_item.txt
printf 'head of shop_cart/item\n${where()}\n' > templates/shop_cart/item.txt
cat > render.py <<'PY'
import sys

from mako.exceptions import RichTraceback
from mako.lookup import TemplateLookup


def where():
    names.append(sys._getframe(1).f_code.co_filename)
    return ""


names = []
lookup = TemplateLookup(directories=["templates"])
first = lookup.get_template("/shop/cart_item.txt")
second = lookup.get_template("/shop_cart/item.txt")
second.render(where=where)
try:
    first.render(where=where, zero=0)
except ZeroDivisionError:
    report = RichTraceback()
    print("co_filename of shop_cart/item.txt:", names[0])
    print("co_filename of shop/cart_item.txt:", names[1])
    print("the error is in: shop/cart_item.txt line 4")
    filename, line, function, text = report.traceback[-1]
    print("Mako reports:", filename, "line", line, "|", text)
    print("and as its source:", report.source.splitlines()[0])
PY

cat > expected <<'TXT'
co_filename of shop_cart/item.txt: _shop_cart_item_txt
co_filename of shop/cart_item.txt: _shop_cart_item_txt
the error is in: shop/cart_item.txt line 4
Mako reports: templates/shop_cart/item.txt line 2 | ${where()}
and as its source: head of shop_cart/item
TXT
env/bin/python render.py > seen

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^Mako '
echo "guessed: each template file has a co_filename of its own, and Mako's report names the template that failed."
echo "seen:"
sed 's/^/  /' seen
echo "matters: a profile that groups by file and line adds up two templates, and the name is no path to look up."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
