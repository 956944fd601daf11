#!/usr/bin/env bash
# yappi writes pstats files with the two call counts in the other order: where cProfile has (primitive, total), yappi
# has (total, primitive). The readers of such files show a recursive function as called once.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps yappi==1.7.6 gprof2dot==2025.4.14 \
    || { echo "the packages could not be installed" >&2; exit 2; }

cat > both.py <<'PY'
import cProfile
import pstats

import yappi


def countdown(n):
    if n:
        countdown(n - 1)


profile = cProfile.Profile()
profile.runcall(countdown, 4)
profile.dump_stats("cprofile.prof")

yappi.start()
countdown(4)
yappi.stop()
yappi.get_func_stats().save("yappi.prof", type="pstat")

for name in ("cprofile", "yappi"):
    for (_, _, function), row in pstats.Stats(name + ".prof").stats.items():
        if function == "countdown":
            print(name, "calls in the file:", row[:2])
PY
env/bin/python both.py > seen
for name in cprofile yappi; do
    calls=$(env/bin/python -c 'import pstats, sys; pstats.Stats(sys.argv[1]).print_stats("countdown")' "$name.prof" |
        awk '/countdown\)$/ { print $1 }')
    echo "$name ncalls as pstats prints them: $calls" >> seen
    calls=$(env/bin/gprof2dot -f pstats -n0 -e0 "$name.prof" | grep -v -e '->' | grep -oE 'countdown.*[0-9]+×' |
        grep -oE '[0-9]+×')
    echo "$name calls as gprof2dot draws them: $calls" >> seen
done

cat > expected <<'TXT'
cprofile calls in the file: (1, 5)
yappi calls in the file: (5, 1)
cprofile ncalls as pstats prints them: 5/1
cprofile calls as gprof2dot draws them: 5×
yappi ncalls as pstats prints them: 1/5
yappi calls as gprof2dot draws them: 1×
TXT

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^(yappi|gprof2dot) '
echo "guessed: a file saved as pstat has the columns of cProfile: 5/1 for a function that calls itself four times."
echo "seen:"
sed 's/^/  /' seen
echo "matters: time per call divides by the wrong count. Without recursion both counts are equal, so it stays unseen."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
