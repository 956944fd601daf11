"""Eight chains of nine functions, c0_0 -> c0_1 -> ... -> c0_7 -> p0 and so on, called one after another without end.

No function calls one of another chain, so below `main` only prefixes of a chain are possible.
"""
import sys


def source():
    lines = []
    for chain in range(8):
        lines += ["def p%d():" % chain, "    return %d" % chain, ""]
        for step in range(8):
            callee = "c%d_%d" % (chain, step + 1) if step < 7 else "p%d" % chain
            lines += ["def c%d_%d():" % (chain, step), "    return %s()" % callee, ""]
    lines += ["def main():", "    print('ready')", "    sys.stdout.flush()", "    while True:"]
    lines += ["        c%d_0()" % chain for chain in range(8)]
    return "\n".join(lines)


exec(compile(source(), "chains", "exec"))
main()
