/* Threads that run no Python: with a thread state and without one, busy and asleep. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

volatile unsigned long threads_count;

__attribute__((noinline)) static void spin_attached(void)
{
    for (;;)
        threads_count++;
}

__attribute__((noinline)) static void spin_alone(void)
{
    for (;;)
        threads_count++;
}

__attribute__((noinline)) static void sleep_alone(void)
{
    for (;;)
        pause();
}

/* A thread that has called Python, and keeps its thread state without the GIL. */
static void *attached(void *nothing)
{
    int (*ensure)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    void *(*save)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "PyEval_SaveThread");
    ensure();
    save();
    spin_attached();
    return nothing;
}

static void *busy(void *nothing)
{
    prctl(PR_SET_NAME, "busy-worker");
    spin_alone();
    return nothing;
}

static void *asleep(void *nothing)
{
    prctl(PR_SET_NAME, "idle-worker");
    sleep_alone();
    return nothing;
}

void threads_start(int is_attached)
{
    pthread_t thread;
    if (is_attached) {
        pthread_create(&thread, 0, attached, 0);
    } else {
        pthread_create(&thread, 0, busy, 0);
        pthread_create(&thread, 0, asleep, 0);
    }
}
