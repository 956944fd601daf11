"""Tasks of asyncio that wait for sockets, streams, servers, processes, timers and threads.

usage: task_waits.py asyncio|uvloop

Prints `ready` when all wait, then a line of JSON: of each task, by its name, what must be told of its wait. `fd` is the
descriptor, or true where only the loop knows it; `peer` the port at the other end; `pid` that of a process; `thread`
the number of the thread that runs the function that is waited for; `due` the loop's time at which a timer rings; `kind`
one word.
"""
import asyncio
import concurrent.futures
import json
import os
import socket
import subprocess
import sys
import threading

KIND = sys.argv[1]
told, kept = {}, []
never = threading.Event()


def tell(**facts):
    """What is right of the task that calls this, which will wait in its next step."""
    told[names[asyncio.current_task() if hasattr(asyncio, "current_task") else asyncio.Task.current_task()]] = facts


def connected():
    """A connection: both of its ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    near = socket.create_connection(listener.getsockname())
    far, _ = listener.accept()
    kept.extend((listener, near, far))
    for each in (listener, near, far):
        each.setblocking(False)
    return near, far


def full():
    """The address of a listener that takes no connection any more."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    kept.append(listener)
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        kept.append(client)
    return listener.getsockname()


async def stream():
    """A stream over a connection, and the connection's descriptor."""
    near, _ = connected()
    reader, writer = await asyncio.open_connection(sock=near)
    kept.extend((reader, writer))
    return reader, writer, near.fileno()


# --- the loop's own methods -------------------------------------------------------------------------------------


async def sock_recv():
    near, _ = connected()
    tell(kind="socket", text="waits in sock_recv, ", fd=near.fileno())
    await loop.sock_recv(near, 10)


async def sock_recv_into():
    near, _ = connected()
    tell(kind="socket", text="waits in sock_recv_into, ", fd=near.fileno())
    await loop.sock_recv_into(near, bytearray(10))


async def sock_sendall():
    near, _ = connected()
    tell(kind="socket", text="waits in sock_sendall, ", fd=near.fileno())
    await loop.sock_sendall(near, b"x" * 50000000)


async def sock_accept():
    connected()
    listener = kept[-3]
    tell(kind="socket", text="waits in sock_accept, ", fd=listener.fileno())
    await loop.sock_accept(listener)


async def sock_connect():
    address, near = full(), socket.socket()
    near.setblocking(False)
    kept.append(near)
    tell(kind="socket", text="waits in sock_connect, ", fd=near.fileno(), peer=address[1])
    await loop.sock_connect(near, address)


async def open_connection():
    address = full()
    text = "waits in create_connection, " if KIND == "uvloop" else "waits in sock_connect, "
    tell(kind="socket", text=text, fd=True, peer=address[1])
    await asyncio.open_connection(*address)


# --- streams ----------------------------------------------------------------------------------------------------


async def readline():
    reader, _writer, descriptor = await stream()
    tell(kind="socket", text="waits in StreamReader.readline (", fd=descriptor)
    await reader.readline()


async def iterates():
    reader, _writer, descriptor = await stream()
    tell(kind="socket", text="waits in StreamReader.__anext__ (", fd=descriptor)
    async for _ in reader:
        pass


async def drains():
    _reader, writer, descriptor = await stream()
    writer.write(b"x" * 50000000)
    tell(kind="socket", text="waits in StreamWriter.drain (", fd=descriptor)
    await writer.drain()


async def reads_unix():
    near, far = socket.socketpair()
    kept.append(far)
    reader, writer = await asyncio.open_connection(sock=near)
    kept.append(writer)
    tell(kind="socket", text="waits in StreamReader.read (", fd=near.fileno())
    await reader.read(10)


# --- TLS --------------------------------------------------------------------------------------------------------


def anonymous(purpose):
    """A context by which neither end needs a certificate."""
    import ssl
    context = ssl.create_default_context(getattr(ssl.Purpose, purpose))
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


async def reads_tls():
    async def serve(_reader, writer):
        kept.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=anonymous("CLIENT_AUTH"))
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=anonymous("SERVER_AUTH"))
    kept.extend((server, writer))
    descriptor = writer.get_extra_info("socket").fileno()
    tell(kind="socket", text="waits in StreamReader.readline (", fd=descriptor, peer=address[1])
    await reader.readline()


async def shakes_hands():
    near, _ = connected()
    text = "waits in the TLS handshake of create_connection, "
    tell(kind="socket", text=text, fd=near.fileno())
    options = {"ssl": anonymous("SERVER_AUTH"), "server_hostname": "x", "ssl_handshake_timeout": 3600}
    await asyncio.open_connection(sock=near, **options)


async def starts_tls():
    near, _ = connected()
    transport, protocol = await loop.create_connection(asyncio.Protocol, sock=near)
    kept.append(transport)
    tell(kind="socket", text="waits in the TLS handshake of start_tls, ", fd=near.fileno())
    context = anonymous("SERVER_AUTH")
    await loop.start_tls(transport, protocol, context, server_hostname="x", ssl_handshake_timeout=3600)


# --- servers, processes -----------------------------------------------------------------------------------------


async def serves():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    kept.append(server)
    tell(kind="server", text="waits in Server.serve_forever", fd=server.sockets[0].fileno())
    await server.serve_forever()


async def waits_for_process():
    # It ends when we do.
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
    kept.append(process)
    tell(kind="process", text="waits in Process.wait, ", pid=process.pid)
    await process.wait()


async def reads_of_process():
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    kept.append(process)
    tell(kind="socket", text="waits in StreamReader.readline (", fd=True)
    await process.stdout.readline()


# --- time, threads ----------------------------------------------------------------------------------------------


async def sleeps():
    # A loop rounds it: uvloop to milliseconds of the time at which its turn began.
    tell(kind="sleep", text="sleeps, wakes in ", due=loop.time() + 3600)
    await asyncio.sleep(3600)


begun = {}


def blocks(name):
    begun[name] = threading.current_thread().ident
    never.wait()


async def in_executor():
    tell(kind="executor", text="waits for a function that thread ", thread="in_executor")
    await loop.run_in_executor(None, blocks, "in_executor")


async def queued():
    tell(kind="executor", text="waits for a function that no thread has begun")
    await loop.run_in_executor(small, blocks, "queued")


async def before_queued():
    tell(kind="executor", text="waits for a function that thread ", thread="before_queued")
    await loop.run_in_executor(small, blocks, "before_queued")


async def wait_until_all_wait(tasks):
    while True:
        await asyncio.sleep(0.01)
        for task in tasks:
            if task.done():
                task.result()
                raise AssertionError("%s has ended" % names[task])
        waits = [task for task in tasks if task._fut_waiter is not None and not task._fut_waiter.done()]
        if len(waits) == len(told) == len(tasks) and {"in_executor", "before_queued"} <= set(begun):
            return


names = {}
small = concurrent.futures.ThreadPoolExecutor(1)


async def main():
    functions = [
        sock_recv, sock_recv_into, sock_sendall, sock_accept, sock_connect, open_connection, readline, iterates, drains,
        reads_unix, reads_tls, shakes_hands, starts_tls, serves, waits_for_process, reads_of_process, sleeps,
        in_executor, before_queued, queued,
    ]
    for function in functions:
        names[loop.create_task(function())] = function.__name__
    tasks = list(names)
    await wait_until_all_wait(tasks)
    for facts in told.values():
        if "thread" in facts:
            facts["thread"] = begun[facts["thread"]]
    for task, name in names.items():
        told[name]["id"] = id(task)
    print("ready")
    print(json.dumps({"now": loop.time(), "tasks": told}))
    sys.stdout.flush()
    loop.run_in_executor(None, ends_with_stdin)
    await asyncio.sleep(3600)


def ends_with_stdin():
    sys.stdin.read()
    os._exit(0)


if KIND == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
