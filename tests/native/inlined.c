/* A function with others in it, in another file, and one that calls it. */
#include <unistd.h>
#include "inlined.h"

volatile unsigned long inlined_count;

static __attribute__((noinline)) double holder(double number)
{
    double found = inner(number + 1);
    inlined_count++;
    return found;
}

__attribute__((noinline)) double inlined_entry(double number)
{
    double found = holder(number);
    inlined_count++;
    return found;
}
