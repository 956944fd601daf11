/* A library of threads that Python did not start. `Py…` are those of the interpreter that has loaded it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

int PyGILState_Ensure(void);
void PyGILState_Release(int);
void *PyEval_SaveThread(void);

static void (*callback)(void);
static int prepared;

/* Has a thread state, and no Python code. */
static void *wait_without_code(void *unused) {
    prctl(PR_SET_NAME, "host-wait");
    PyGILState_Ensure();
    PyEval_SaveThread();
    __atomic_add_fetch(&prepared, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static void *spin_without_code(void *unused) {
    prctl(PR_SET_NAME, "host-spin");
    PyGILState_Ensure();
    PyEval_SaveThread();
    __atomic_add_fetch(&prepared, 1, __ATOMIC_SEQ_CST);
    for (;;)
        ;
}

/* Runs Python code, which has no name for it. */
static void *call(void *name) {
    if (name)
        prctl(PR_SET_NAME, name);
    callback();
    return 0;
}

static void start(void *(*run)(void *), const char *name) {
    pthread_t thread;
    pthread_create(&thread, 0, run, (void *)name);
}

void start_threads(void (*function)(void)) {
    callback = function;
    start(call, "tokio-rt-\033[31m");
    start(call, 0);
    start(wait_without_code, 0);
    start(spin_without_code, 0);
    while (__atomic_load_n(&prepared, __ATOMIC_SEQ_CST) < 2)
        usleep(1000);
}
