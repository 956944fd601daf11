/* Makes an executable that embeds Python behave as the plain `python` command.
 *
 * The free-threaded interpreters that `fetch` brings are executables with all of CPython in them, whose own main()
 * starts one frozen program. They export CPython's public functions. This library is made a dependency of such an
 * executable: its __libc_start_main comes before the C library's, and starts Python's own main in place of the
 * executable's. In the 3.13 ones the linker left Py_BytesMain out, so the part of it that tests need is done here:
 * `python [options] FILE | -c COMMAND | -m MODULE [arguments]`. */
#define _GNU_SOURCE
#include <Python.h>
#include <dlfcn.h>

typedef int main_function(int, char **, char **);
typedef int start_function(main_function *, int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

#pragma weak Py_BytesMain

static void put_first_in_path(const char *directory)
{
    PyObject *path = PySys_GetObject("path");
    PyObject *entry = PyUnicode_FromString(directory);
    if (path == NULL || entry == NULL || PyList_Insert(path, 0, entry) != 0) {
        PyErr_Print();
    }
    Py_XDECREF(entry);
}

static int run_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        perror(name);
        return 2;
    }
    char directory[4096];
    const char *slash = strrchr(name, '/');
    snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 0 : (int)(slash - name), name);
    put_first_in_path(directory);
    return PyRun_SimpleFileExFlags(file, name, 1, NULL) != 0;
}

static int run_module(const wchar_t *name)
{
    put_first_in_path("");
    PyObject *runpy = PyImport_ImportModule("runpy");
    PyObject *result = NULL;
    if (runpy != NULL) {
        PyObject *module = PyUnicode_FromWideChar(name, -1);
        result = PyObject_CallMethod(runpy, "_run_module_as_main", "O", module);
        Py_XDECREF(module);
    }
    if (result == NULL) {
        PyErr_Print(); /* and exits, when the error is SystemExit */
    }
    Py_XDECREF(runpy);
    Py_XDECREF(result);
    return result == NULL;
}

static int python_main(int argc, char **argv, char **environment)
{
    (void)environment;
    if (Py_BytesMain != NULL) {
        return Py_BytesMain(argc, argv);
    }
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyStatus status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status)) {
        status = PyConfig_Read(&config);
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
    int exit_status = 2;
    if (config.run_command != NULL) {
        put_first_in_path("");
        char *command = Py_EncodeLocale(config.run_command, NULL);
        exit_status = command == NULL || PyRun_SimpleStringFlags(command, NULL) != 0;
    } else if (config.run_module != NULL) {
        exit_status = run_module(config.run_module);
    } else if (config.run_filename != NULL) {
        char *name = Py_EncodeLocale(config.run_filename, NULL);
        exit_status = name == NULL ? 1 : run_file(name);
    } else {
        fputs("give a file, -c COMMAND or -m MODULE\n", stderr);
    }
    return Py_FinalizeEx() < 0 ? 120 : exit_status;
}

int __libc_start_main(main_function *own_main, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end)
{
    (void)own_main;
    start_function *start = (start_function *)dlsym(RTLD_NEXT, "__libc_start_main");
    return start(python_main, argc, argv, init, fini, rtld_fini, stack_end);
}
