#!/usr/bin/env python3
"""Numbers for tests/unit/eval, computed a second time: intervals, bootstrap, divergence, SNR.

Shares no code with the program; Philox4x32-10 is written from the paper (Salmon et al., SC 2011).
Prints C lines; paste them into test_interval.c and test_row_divergence.c when a case is added.
"""
import math

MASK = 0xFFFFFFFF


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def wilson(k, n, z=1.959963984540054):
    p = k / n
    root = math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 / (1 + z * z / n)
    return scale * (p + z * z / (2 * n) - z * root), scale * (p + z * z / (2 * n) + z * root)


def percentile(values, p):
    values = sorted(values)
    at = p * (len(values) - 1)
    i = min(int(at), len(values) - 2)
    return values[i] + (at - i) * (values[i + 1] - values[i])


def change(pairs):
    return math.exp(sum(b - a for a, b, _ in pairs) / sum(t for _, _, t in pairs)) - 1


def bootstrap(pairs, rounds, seed):
    n, got = len(pairs), []
    for r in range(rounds):
        drawn = [pairs[philox((i // 4, r, 0, 0), (seed & MASK, seed >> 32))[i % 4] * n >> 32]
                 for i in range(n)]
        got.append(change(drawn))
    return percentile(got, 0.025), percentile(got, 0.975)


def log_softmax(row):
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row)) + top
    return [x - total for x in row]


def kl(p, q):
    p, q = log_softmax(p), log_softmax(q)
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))


def snr_db(signal, other):
    return 10 * math.log10(math.fsum(s * s for s in signal) /
                           math.fsum((s - o) ** 2 for s, o in zip(signal, other)))


def logits(n, seed):
    """Multiples of 1/8 between -8 and 8: exact as floats."""
    return [(philox((i // 4, 0, 0, 0), (seed, 0))[i % 4] % 129 - 64) / 8 for i in range(n)]


def main():
    for k, n in ((0, 10), (10, 10), (215, 250), (1, 3), (500, 1000)):
        print("wilson", k, n, *("%.15g" % x for x in wilson(k, n)))
    pairs = [(10 + i * 0.75, 10 + i * 0.75 + (i * 7 % 5 - 1) * 0.0625, 16 + i % 3)
             for i in range(30)]
    print("change %.15g" % change(pairs))
    for rounds, seed in ((200, 1), (2000, 20240501)):
        print("bootstrap", rounds, seed, *("%.15g" % x for x in bootstrap(pairs, rounds, seed)))
    for n, a, b in ((7, 1, 2), (1000, 3, 4), (1000, 5, 5)):
        p, q = logits(n, a), logits(n, b)
        print("kl", n, a, b, "%.15g" % kl(p, q), "nll %.15g" % -log_softmax(q)[3],
              "top", max(range(n), key=lambda i: (p[i], -i)))
    print("snr %.15g" % snr_db(logits(512, 6), [x + y / 64 for x, y in
                                                zip(logits(512, 6), logits(512, 7))]))


if __name__ == "__main__":
    main()
