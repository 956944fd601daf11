/* Functions of C between functions of Python. Each does something after its call, so that none is left by a jump. */
typedef void (*callback)(void);

volatile unsigned long nest_count;

static __attribute__((noinline)) void nest_hidden(callback called)
{
    called();
    nest_count++;
}

__attribute__((noinline)) void nest_inner(callback called)
{
    nest_hidden(called);
    nest_count++;
}

__attribute__((noinline)) void nest_outer(callback called)
{
    /* A part of the stack whose size is known only here. */
    volatile char part[32 + nest_count % 7];
    part[0] = 1;
    nest_inner(called);
    nest_count += part[0];
}

/* Works for a while without a call into the system. */
__attribute__((noinline)) void nest_work(unsigned long steps)
{
    while (steps--)
        nest_count++;
}
