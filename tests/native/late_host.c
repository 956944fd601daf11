// A program that is no Python until there is a file: then it loads a libpython and runs what is given in it.
//
//     late_host FILE LIBPYTHON CODE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    while (access(argv[1], F_OK) != 0) usleep(5000);
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    void (*initialize)(int) = (void (*)(int))dlsym(library, "Py_InitializeEx");
    int (*run)(const char *) = (int (*)(const char *))dlsym(library, "PyRun_SimpleString");
    initialize(0);
    return run(argv[3]) != 0;
}
