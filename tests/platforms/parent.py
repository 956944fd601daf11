"""Has one child that computes, and waits for it; says `ready` and both numbers once it was started."""
import os
import subprocess
import sys

script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "brief.py")
child = subprocess.Popen([sys.executable, script, "600"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
print("ready %d %d" % (os.getpid(), child.pid))
sys.stdout.flush()
child.wait()
