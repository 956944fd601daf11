/* Defines _PyRuntime as CPython does, so that the object file holds the debug offsets which these headers make (3.13
 * and later). */

#define Py_BUILD_CORE 1
#include "Python.h"
#include "internal/pycore_ceval.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#include "internal/pycore_runtime_init.h"

__attribute__((section(".PyRuntime"))) _PyRuntimeState _PyRuntime = _PyRuntimeState_INIT(_PyRuntime, _Py_Debug_Cookie);
