#!/usr/bin/env bash
# Code made from another syntax than Python's can have true line numbers and false columns (PEP 657). Hy counts the
# first column from 1 where Python counts from 0; a bottle template keeps its lines but has the columns of the
# generated Python. The carets of a traceback, and each reader of co_positions(), then point beside the expression.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps hy==1.3.1 funcparserlib==1.0.1 bottle==0.13.4 \
    || { echo "the packages could not be installed" >&2; exit 2; }

cat > lookup.hy <<'HY'
(defn price [goods]
  (setv x 1)
  (+ x (get goods "tea")))
HY
cat > page.tpl <<'TPL'
<h1>Prices</h1>
<p>Tea is {{price("tea")}} today, and coffee is more.</p>
TPL
cat > positions.py <<'PY'
import sys
import traceback

import bottle
import hy

sys.path.insert(0, ".")
import lookup


def price(goods):
    raise KeyError(goods)


def place(kind, path, run):
    """Prints the line that failed in `path` and what its columns hold."""
    try:
        run()
    except KeyError as error:
        (frame,) = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(path)]
        line = open(path).read().splitlines()[frame.lineno - 1]
        print(kind, "line", frame.lineno, "columns", frame.colno, frame.end_colno)
        print(kind, "fails in:", line)
        print(kind, "marked:", repr(line[frame.colno:frame.end_colno]))


place("hy", "lookup.hy", lambda: lookup.price({}))
narrow = {position[2:] for position in lookup.price.__code__.co_positions() if position[0] == 2}
print("hy columns of the x and the 1 in line 2:", *sorted(narrow))
place("bottle", "page.tpl", lambda: bottle.template("page", template_lookup=["."], price=price))
PY

cat > expected <<'TXT'
hy line 3 columns 8 24
hy fails in:   (+ x (get goods "tea")))
hy marked: 'get goods "tea")'
hy columns of the x and the 1 in line 2: (9, 9) (11, 11)
bottle line 2 columns 22 34
bottle fails in: <p>Tea is {{price("tea")}} today, and coffee is more.</p>
bottle marked: '")}} today, '
TXT
env/bin/python positions.py > seen

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^(hy|bottle) '
echo "guessed: where the line is the one of the source, the columns are too, or they are missing."
echo "seen:"
sed 's/^/  /' seen
echo "matters: a reader that shows the expression of a frame shows another one; a name of one letter has no width."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
