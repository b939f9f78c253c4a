#ifndef QW_TESTS_BENCH_TEST_H
#define QW_TESTS_BENCH_TEST_H

#include <math.h>

/** Fail unless a and b, both double, differ by at most `tolerance`; cmocka compares as float. */
#define assert_near(a, b, tolerance)                                                               \
    do {                                                                                           \
        double a_ = (a), b_ = (b);                                                                 \
        if (!(fabs(a_ - b_) <= (tolerance))) fail_msg("%s is %.17g, not %.17g", #a, a_, b_);       \
    } while (0)

#endif
