"""Greenlets that sleep and wait for a socket.

usage: greenlet_waits.py gevent|eventlet
"""
import sys

if sys.argv[1] == "gevent":
    import gevent
    from gevent import sleep, socket, spawn

    first, second = socket.socketpair()

    def wait(greenlets):
        gevent.joinall(greenlets)
else:
    import eventlet
    from eventlet import sleep, spawn
    from eventlet.greenio import GreenSocket
    import socket as plain

    first, second = [GreenSocket(part) for part in plain.socketpair()]

    def wait(greenlets):
        for greenlet in greenlets:
            greenlet.wait()


def sleeps():
    sleep(3600)


def receives():
    first.recv(1)


greenlets = [spawn(sleeps), spawn(receives)]
sleep(0.05)
print("ready")
sys.stdout.flush()
wait(greenlets)
