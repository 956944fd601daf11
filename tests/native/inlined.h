/* Functions that the compiler puts into others. */
static inline __attribute__((always_inline)) double innermost(double number)
{
    while (number > 0)
        pause();
    return number;
}

static inline __attribute__((always_inline)) double inner(double number)
{
    return innermost(number) * 2;
}
