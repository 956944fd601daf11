"""A Jupyter kernel, run within this process, whose third cell computes without end in a function of the second one.

Needs ipykernel; tests/notebook/fetch brings it.
"""
from ipykernel.inprocess import InProcessKernelManager

CELLS = [
    "import sys",
    "def spin():\n    while True:\n        sum(range(100000))",
    "# the third one\nsys.__stdout__.write('ready\\n'); sys.__stdout__.flush()\nspin()",
]

manager = InProcessKernelManager()
manager.start_kernel()
client = manager.client()
client.start_channels()
for cell in CELLS:
    client.execute(cell)
