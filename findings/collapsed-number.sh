#!/usr/bin/env bash
# A collapsed stack whose last frame ends in a number, as in `main;worker 3 10`: inferno (here through pyinferno) takes
# the two numbers for the counts before and after of a comparison of two profiles, cuts the name and colours the frame
# as grown. gprof2dot reads the frame `worker 3` with the weight 10.
# Needs: Python 3.11 with venv (pyinferno has packages for no later one). PYTHON=... chooses the interpreter.
# Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "needs Python 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps pyinferno==0.2.6 pyinstrument==5.1.3 \
    gprof2dot==2025.4.14 \
    || { echo "the packages could not be installed" >&2; exit 2; }

printf 'main;worker 3 10\nmain;worker 4 10\n' > named.txt
cat > read.py <<'PY'
import re

import pyinferno

with open("named.txt") as file:
    svg = pyinferno.flamegraph_from_lines(file.read().splitlines())
for title in re.findall("<title>(worker[^<]*)", svg):
    print("inferno:", title)
PY
env/bin/python read.py > seen
env/bin/gprof2dot -f collapse -n0 -e0 named.txt | grep -v -e '->' | grep -oE 'label="worker[^"]*' |
    sed 's/label="/gprof2dot: /; s/\\n/ /g' >> seen

cat > expected <<'TXT'
inferno: worker (20 samples, 100.00%; +35.00%)
gprof2dot: worker 3 50.00% (50.00%)
gprof2dot: worker 4 50.00% (50.00%)
TXT

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^(pyinferno|gprof2dot) '
echo "guessed: the last number is the weight, what is before it is the stack; both show worker 3 and worker 4."
echo "seen:"
sed 's/^/  /' seen
echo "matters: threads and workers are numbered so; several become one frame, and a plain profile is shown as a"
echo "  comparison. A writer must not let a name end in a blank and a number."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
