#include "bench/picture.h"

// PNG (RFC 2083), zlib (RFC 1950) and stored blocks (RFC 1951).

enum { MAX_STORED = 65535, N_COLOURS = 256 };

static void put_u32(qw_buf *out, uint32_t v)
{
    const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                              (uint8_t)v};
    qw_buf_append(out, bytes, sizeof bytes);
}

static void make_crc_table(uint32_t table[256])
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        table[n] = c;
    }
}

// A chunk is its length, its name, its data, and a checksum of the latter two.
static size_t begin_chunk(qw_buf *out, const char *name)
{
    put_u32(out, 0);
    qw_buf_append(out, name, 4);
    return out->len;
}

static void end_chunk(qw_buf *out, size_t begin)
{
    if (out->failed) return;
    uint32_t table[256], crc = UINT32_MAX;
    make_crc_table(table);
    for (size_t i = begin - 4; i < out->len; i++)
        crc = table[(crc ^ (uint8_t)out->data[i]) & 0xFF] ^ (crc >> 8);
    uint32_t len = (uint32_t)(out->len - begin);
    for (int i = 0; i < 4; i++) out->data[begin - 8 + (size_t)i] = (char)(len >> (24 - 8 * i));
    put_u32(out, ~crc);
}

/** A zlib stream of stored blocks. */
typedef struct zlib_writer {
    qw_buf *out;
    size_t n_left;  /* bytes to come */
    size_t n_block; /* bytes to come in this block */
    uint32_t a, b;  /* Adler-32 */
} zlib_writer;

static void put_byte(zlib_writer *z, uint8_t byte)
{
    if (z->n_block == 0) {
        z->n_block = z->n_left < MAX_STORED ? z->n_left : MAX_STORED;
        uint16_t n = (uint16_t)z->n_block;
        const uint8_t head[5] = {z->n_left == z->n_block, (uint8_t)n, (uint8_t)(n >> 8),
                                 (uint8_t)~n, (uint8_t)(~n >> 8)};
        qw_buf_append(z->out, head, sizeof head);
    }
    qw_buf_putc(z->out, (char)byte);
    z->n_left--;
    z->n_block--;
    z->a = (z->a + byte) % 65521;
    z->b = (z->b + z->a) % 65521;
}

static void put_pixels(qw_buf *out, int64_t width, int64_t height, qw_draws *draws)
{
    zlib_writer z = {.out = out, .n_left = (size_t)(width + 1) * (size_t)height, .a = 1};
    qw_buf_append(out, "\x78\x01", 2);
    for (int64_t y = 0; y < height; y++) {
        put_byte(&z, 0); // no filter
        uint64_t bits = 0;
        for (int64_t x = 0; x < width; x++) {
            if (x % 6 == 0) bits = (uint64_t)qw_draws_range(draws, 0, ((int64_t)1 << 48) - 1);
            put_byte(&z, (uint8_t)bits);
            bits >>= 8;
        }
    }
    put_u32(out, z.b << 16 | z.a);
}

void qw_picture_png(qw_buf *out, int64_t width, int64_t height, qw_draws *draws)
{
    QW_ASSERT(width >= 1 && width <= 16384 && height >= 1 && height <= 16384);
    qw_buf_append(out, "\x89PNG\r\n\x1a\n", 8);
    size_t at = begin_chunk(out, "IHDR");
    put_u32(out, (uint32_t)width);
    put_u32(out, (uint32_t)height);
    qw_buf_append(out, "\x08\x03\x00\x00\x00", 5); // 8 bits, palette
    end_chunk(out, at);
    at = begin_chunk(out, "PLTE");
    for (int i = 0; i < N_COLOURS * 3; i++) qw_buf_putc(out, (char)qw_draws_range(draws, 0, 255));
    end_chunk(out, at);
    at = begin_chunk(out, "IDAT");
    put_pixels(out, width, height, draws);
    end_chunk(out, at);
    end_chunk(out, begin_chunk(out, "IEND"));
}

void qw_picture_base64(qw_buf *out, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;
        if (i + 1 < len) v |= (uint32_t)p[i + 1] << 8;
        if (i + 2 < len) v |= p[i + 2];
        const char text[4] = {digits[v >> 18], digits[v >> 12 & 63],
                              i + 1 < len ? digits[v >> 6 & 63] : '=',
                              i + 2 < len ? digits[v & 63] : '='};
        qw_buf_append(out, text, sizeof text);
    }
}
