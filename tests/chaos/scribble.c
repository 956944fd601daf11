/* Overwrites memory of its own process at random, and puts it back, without end. Calls nothing, so that nothing that
   it overwrites is missed. */

#include <stddef.h>
#include <stdint.h>

struct range {
    uint64_t start, words;
};

#define MOST_RANGES 1024
#define MOST_CHANGED 4096

static inline uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline volatile uint64_t *place(const struct range *ranges, size_t count, uint64_t *state)
{
    const struct range *one = &ranges[draw(state) % count];
    return (volatile uint64_t *)one->start + draw(state) % one->words;
}

/* `all` is what may be overwritten, the last `hot` of these what is three times of four. Never returns. */
void scribble(const struct range *given, size_t count, size_t hot, uint64_t seed)
{
    struct range all[MOST_RANGES];
    volatile uint64_t *changed[MOST_CHANGED];
    uint64_t before[MOST_CHANGED];
    uint64_t state = seed | 1;

    if (count > MOST_RANGES || hot > count)
        return;
    for (size_t index = 0; index < count; index++)
        all[index] = given[index];
    const struct range *often = &all[count - hot];
    for (;;) {
        size_t length = 0;
        size_t wanted = draw(&state) % MOST_CHANGED;
        /* From hardly anything to nearly everything that counts. */
        if (draw(&state) % 2)
            wanted %= 32;
        while (length < wanted) {
            volatile uint64_t *word =
                draw(&state) % 4 ? place(often, hot, &state) : place(all, count, &state);
            uint64_t value = draw(&state);
            switch (draw(&state) % 6) {
            case 0:
                value %= 65536;
                break;
            case 1:
                value = *place(often, hot, &state);
                break;
            case 2:
                value = (uint64_t)place(all, count, &state);
                break;
            case 3:
                value = value % 2 ? 0 : UINT64_MAX;
                break;
            case 4:
                value = *word ^ (1ull << value % 64);
                break;
            }
            changed[length] = word;
            before[length++] = *word;
            *word = value;
        }
        for (volatile uint64_t rest = draw(&state) % 10000000; rest; rest--)
            ;
        while (length) {
            length--;
            *changed[length] = before[length];
        }
        for (volatile uint64_t rest = draw(&state) % 1000000; rest; rest--)
            ;
    }
}
