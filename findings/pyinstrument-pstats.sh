#!/usr/bin/env bash
# pyinstrument's pstats output adds up the time of a recursive function at each level of the recursion: its cumulative
# time is several times that of the whole run. cProfile counts the outermost call alone.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps pyinstrument==5.1.3 \
    || { echo "the packages could not be installed" >&2; exit 2; }

cat > descend.py <<'PY'
import time


def descend(levels):
    if levels > 1:
        return descend(levels - 1)
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        sum(range(1000))


def main():
    descend(10)


main()
PY
env/bin/pyinstrument -r pstats -o pyinstrument.prof descend.py >/dev/null
env/bin/python -m cProfile -o cprofile.prof descend.py

cat > ratio.py <<'PY'
import pstats

for name in ("cprofile", "pyinstrument"):
    rows = {key[2]: row for key, row in pstats.Stats(name + ".prof").stats.items()}
    print(name, "cumulative time of descend / of main:", round(rows["descend"][3] / rows["main"][3]))
PY
env/bin/python ratio.py > seen

cat > expected <<'TXT'
cprofile cumulative time of descend / of main: 1
pyinstrument cumulative time of descend / of main: 10
TXT

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^pyinstrument '
echo "guessed: both files give descend the time of its outermost call, so the ratio is 1 in both."
echo "seen:"
sed 's/^/  /' seen
echo "matters: pstats has one row per function, so a writer that has whole stacks must count a function once per stack."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
