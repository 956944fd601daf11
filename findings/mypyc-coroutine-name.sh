#!/usr/bin/env bash
# mypyc makes a class for the coroutines of each async function. That of a method is named by the method and then its
# class, joined by an underscore: the same name that a plain function may have. With both in one module the C that mypyc
# has written does not compile; with one of them the name of the coroutine's type does not tell which it was.
# Needs: python3 >= 3.11 with venv and headers, a C compiler. PYTHON=... chooses another interpreter. Exit: 0 still so,
# 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
command -v "${CC:-gcc}" >/dev/null || { echo "needs a C compiler" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install mypy==2.4.1 mypy_extensions==1.2.0 librt==0.17.0 \
    setuptools==84.2.1 || { echo "the packages could not be installed" >&2; exit 2; }

method='class order_line:
    async def price(self) -> int:
        return 1
'
function='async def price_order_line() -> int:
    return 2
'
printf '%s' "$method" > only_method.py
printf '%s' "$function" > only_function.py
printf '%s\n\n%s' "$method" "$function" > both.py
cat > ask.py <<'PY'
import asyncio
import importlib
import sys

module = importlib.import_module(sys.argv[1])
makers = {}
if hasattr(module, "order_line"):
    makers["order_line.price"] = module.order_line().price
if hasattr(module, "price_order_line"):
    makers["price_order_line"] = module.price_order_line
for name, make in makers.items():
    coroutine = make()
    print(f"{sys.argv[1]}: {name} gives {asyncio.run(coroutine)}, type {type(coroutine).__name__}")
PY

: > seen
env/bin/python ask.py both >> seen
for module in only_method only_function both; do
    status=0
    LC_ALL=C env/bin/mypyc "$module.py" > "$module.log" 2>&1 || status=$?
    echo "mypyc $module.py: status $status" >> seen
    if ((status == 0)); then
        env/bin/python ask.py "$module" >> seen
    else
        grep -c 'both___price_order_line_genObject.* has no member named' "$module.log" | grep -q '^[1-9]' &&
            echo "  in its C both have one struct: both___price_order_line_genObject" >> seen
    fi
done
cat > expected <<'TXT'
both: order_line.price gives 1, type coroutine
both: price_order_line gives 2, type coroutine
mypyc only_method.py: status 0
only_method: order_line.price gives 1, type price_order_line_gen
mypyc only_function.py: status 0
only_function: price_order_line gives 2, type price_order_line_gen
mypyc both.py: status 1
  in its C both have one struct: both___price_order_line_genObject
TXT

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^mypy '
echo "guessed: a method and a function are two things, so their coroutines have types of different names."
echo "seen:"
sed 's/^/  /' seen
echo "matters: a tool that names a compiled coroutine by its type cannot tell a method's class from a part of a name."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
