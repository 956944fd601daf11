/* System calls as a C program makes them: one call, and whether it ended before it was done. What is sent and received
   goes slowly, through a thread at the other end, so that a stop finds the caller asleep in the middle of it. */

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 256 << 10, PIECE = 64 << 10, PAUSE = 300 };

static int sent[2], received[2], polled;
static char buffer[SIZE];

static void *drain(void *nothing) {
    static char piece[PIECE];
    while (read(sent[1], piece, PIECE) > 0) {
        usleep(PAUSE);
    }
    return nothing;
}

static void *feed(void *nothing) {
    static char piece[PIECE];
    while (write(received[1], piece, PIECE) > 0) {
        usleep(PAUSE);
    }
    return nothing;
}

/* 0, or -1 where there is no way. */
int prepare(void) {
    pthread_t thread;
    int size = PIECE;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sent) || socketpair(AF_UNIX, SOCK_STREAM, 0, received)) {
        return -1;
    }
    setsockopt(sent[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(received[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    polled = epoll_create1(0);
    if (pthread_create(&thread, 0, drain, 0) || pthread_create(&thread, 0, feed, 0)) {
        return -1;
    }
    return polled < 0 ? -1 : 0;
}

/* Whether a wait of 2 ms for nothing was interrupted. */
int waits(void) {
    struct epoll_event event;
    return epoll_wait(polled, &event, 1, 2) < 0 && errno == EINTR;
}

/* Whether a write of 256 KiB was short. */
int sends(void) {
    return write(sent[0], buffer, SIZE) != SIZE;
}

/* Whether 256 KiB were received in part. */
int receives(void) {
    return recv(received[0], buffer, SIZE, MSG_WAITALL) != SIZE;
}
