/* Functions with the names that Cython gives: what Python calls, the function itself, and one of C. With lines of the
source that they stand for. */
#include <unistd.h>

volatile unsigned long compiled_count;

#line 3 "cmod.pyx"
__attribute__((noinline)) double __pyx_f_3pkg_4cmod_5Shape_heavy(double number)
{
    for (;;)
        pause();
    return number;
}

#line 20 "cmod.pyx"
__attribute__((noinline)) static double __pyx_pf_3pkg_4cmod_4work(double number)
{
    double found = __pyx_f_3pkg_4cmod_5Shape_heavy(number);
    compiled_count++;
    return found;
}

#line 30 "cmod.pyx"
__attribute__((noinline)) double __pyx_pw_3pkg_4cmod_5work(double number)
{
    double found = __pyx_pf_3pkg_4cmod_4work(number);
    compiled_count++;
    return found;
}

#line 40 "mmod.c"
__attribute__((noinline)) double CPyDef_Shape___area(double number)
{
    double found = __pyx_pw_3pkg_4cmod_5work(number);
    compiled_count++;
    return found;
}

__attribute__((noinline)) double CPyPy_Shape___area(double number)
{
    double found = CPyDef_Shape___area(number);
    compiled_count++;
    return found;
}
