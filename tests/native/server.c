/* A server that has a Python loaded and does not start it, as Apache's first process does; with a second argument it
   has two workers that do; with the second argument `master` it starts it too, but runs none of its code; with `probe`
   it only says whether the library can be loaded. The first argument is the library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void work(void *python, int ready) {
    void (*initialize)(void) = (void (*)(void))dlsym(python, "Py_Initialize");
    int (*run)(const char *, void *) = (int (*)(const char *, void *))dlsym(python, "PyRun_SimpleStringFlags");
    char program[200];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    initialize();
    sprintf(program, "import os, time\ndef serve():\n    os.write(%d, b'.')\n    time.sleep(600)\nserve()\n", ready);
    run(program, 0);
    _exit(1);
}

int main(int argc, char **argv) {
    void *python = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    int ready[2], worker, workers = argc > 2 ? 2 : 0;
    char byte;
    if (!python || pipe(ready))
        return 1;
    if (argc > 2 && strcmp(argv[2], "probe") == 0)
        return 0;
    for (worker = 0; worker < workers; worker++)
        if (fork() == 0)
            work(python, ready[1]);
    if (argc > 2 && strcmp(argv[2], "master") == 0) {
        ((void (*)(void))dlsym(python, "Py_Initialize"))();
        ((void *(*)(void))dlsym(python, "PyEval_SaveThread"))();
    }
    for (worker = 0; worker < workers; worker++)
        read(ready[0], &byte, 1);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
