// What C++ makes of names.
namespace shapes {
template <class Number> struct Circle {
    __attribute__((noinline)) static void grow(Number radius, void (*called)())
    {
        called();
        asm volatile("" ::"r"(&radius) : "memory");
    }
};
}
extern "C" __attribute__((noinline)) void nest_outer(void (*called)())
{
    shapes::Circle<double>::grow(1.0, called);
    asm volatile("" ::: "memory");
}
