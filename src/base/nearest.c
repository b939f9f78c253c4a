#include "base/nearest.h"

#define LONGEST_WORD 64

static char folded(char c)
{
    return c == '_' ? '-' : c;
}

static int min3(int a, int b, int c)
{
    int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

// Optimal string alignment: Levenshtein's distance with the swap of two neighbours as one edit.
// Three rows of its table are alive at a time.
static int edit_distance(qw_str a, qw_str b)
{
    int rows[3][LONGEST_WORD + 1];
    for (size_t j = 0; j <= b.len; j++) rows[0][j] = (int)j;
    for (size_t i = 1; i <= a.len; i++) {
        int *now = rows[i % 3];
        const int *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = folded(a.ptr[i - 1]), y = folded(b.ptr[j - 1]);
            now[j] = min3(above[j] + 1, now[j - 1] + 1, above[j - 1] + (x != y));
            bool swapped = i > 1 && j > 1 && x == folded(b.ptr[j - 2]) && y == folded(a.ptr[i - 2]);
            if (swapped && two_above[j - 2] + 1 < now[j]) now[j] = two_above[j - 2] + 1;
        }
    }
    return rows[a.len % 3][b.len];
}

void qw_nearest_init(qw_nearest *n, qw_str word)
{
    int most = (int)(word.len / 3);
    *n = (qw_nearest){.word = word, .distance = (most > 1 ? most : 1) + 1};
}

void qw_nearest_offer(qw_nearest *n, const char *name)
{
    qw_str other = qw_str_of(name);
    if (n->word.len > LONGEST_WORD || other.len > LONGEST_WORD) return;
    int distance = edit_distance(n->word, other);
    if (distance >= n->distance) return;
    n->distance = distance;
    n->name = name;
}
