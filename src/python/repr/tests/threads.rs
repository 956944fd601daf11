//! What threads wait for and leave to each other, with and without the GIL.

use super::*;

#[test]
fn what_threads_wait_for() {
    compare_in(
        Interpreter::all_builds(),
        r#"
import re, threading, time
try: import queue
except ImportError: import Queue as queue
if sys.version_info > (3,):
    import _thread as thread
else:
    import thread
def show_lock(name, lock, is_taken):
    # 2.7 does not say whether a lock is taken.
    says = repr(lock).replace('<thread.lock', '<%s thread.lock' % ('locked' if is_taken else 'unlocked'))
    show(name, lock, says)
free, taken = thread.allocate_lock(), thread.allocate_lock()
taken.acquire()
show_lock('lock', free, False); show_lock('taken lock', taken, True)
recursive, held, let_go = threading.RLock(), threading.RLock(), threading.RLock()
for i in range(3): held.acquire()
let_go.acquire(); let_go.release()
for lock in (recursive, held, let_go): show('rlock', lock)
other = threading.RLock()
for_ever = threading.Event()
def hold():
    other.acquire(); other.acquire()
    for_ever.wait()
holder = threading.Thread(target=hold, name='hold"er'); holder.daemon = True; holder.start()
condition = threading.Condition()
def wait_for_condition():
    with condition: condition.wait()
waiters = [threading.Thread(target=wait_for_condition) for i in range(2)]
for waiter in waiters: waiter.daemon = True; waiter.start()
# Up to 3.10 these do not say what they are, but what is in them does.
is_new = sys.version_info >= (3, 11)
barrier = getattr(threading, 'Barrier', lambda count: None)(3)
if barrier:
    at_barrier = threading.Thread(target=barrier.wait, daemon=True); at_barrier.start()
    while barrier.n_waiting < 1: time.sleep(0.001)
    broken = threading.Barrier(2); broken.abort()
    show('barrier', barrier) if is_new else None
    show('broken barrier', broken) if is_new else None
while len(condition._waiters if sys.version_info > (3,) else condition._Condition__waiters) < 2: time.sleep(0.001)
while 'count=2' not in repr(other): time.sleep(0.001)
set_event = threading.Event(); set_event.set()
if sys.version_info > (3,):
    show('held by another', other)
    show('condition', condition); show('own lock', threading.Condition(threading.RLock()))
else:
    show('held by another', other); show('condition', condition)
if is_new:
    for o in (for_ever, set_event, threading.Semaphore(3), threading.BoundedSemaphore(2)): show('state', o)
ended = threading.Thread(target=int); ended.start(); ended.join()
not_joined = threading.Thread(target=int); not_joined.start()
while not_joined.is_alive(): time.sleep(0.001)
class Own(threading.Thread): pass
for t in (holder, threading.Thread(name='new'), ended, not_joined, threading.current_thread(), Own(name='mine')):
    show('thread', t)
q = queue.Queue(10); q.put(1); q.put('b'); q.get(); q.put(3)
class OwnQueue(queue.PriorityQueue): pass
# 2.7 has classes without a type, of which all attributes are shown.
if sys.version_info > (3,):
    show('queue', q, "<Queue size=2 maxsize=10 unfinished_tasks=3 queue=deque(['b', 3])>")
    show('lifo', queue.LifoQueue(), "<LifoQueue size=0 maxsize=0 unfinished_tasks=0 queue=[]>")
    show('own queue', OwnQueue(), "<OwnQueue size=0 maxsize=0 unfinished_tasks=0 queue=[]>")
if sys.version_info >= (3, 7):
    q = queue.SimpleQueue(); show('simple queue', q, '<SimpleQueue size=0>')
    q = queue.SimpleQueue()
    for i in range(20): q.put(i)
    for i in range(7): q.get()
    show('simple queue', q, '<SimpleQueue size=13>')
if sys.version_info > (3,):
    from concurrent.futures import Future
    futures = [Future() for i in range(6)]
    futures[1].set_running_or_notify_cancel(); futures[2].cancel()
    futures[3].cancel(); futures[3].set_running_or_notify_cancel()
    futures[4].set_result([1]); futures[5].set_exception(ValueError('x'))
    for f in futures: show('future', f)
def show_pattern(text, flags=0):
    p = re.compile(text, flags)
    of_2 = 're.compile(%r%s)' % (text, ', re.VERBOSE' if flags else '')
    show('pattern', p, repr(p) if sys.version_info > (3,) else of_2)
for text in ('', 'a+b', "it's", u'\u4e2d' if sys.version_info > (3,) else 'x', b'bytes'): show_pattern(text)
show_pattern('a  b # c', re.X)
if sys.version_info > (3,):
    show_pattern('x' * 300)
    for flags in (re.I, re.I | re.M | re.S, re.X | re.A, re.U, re.A): show_pattern('a(?P<name>b)', flags)
    show_pattern(b'l', re.L); show_pattern(b'l', re.I)
"#,
    );
}
