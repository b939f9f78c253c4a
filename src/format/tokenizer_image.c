#include "format/tokenizer_image.h"

#include <xxhash.h>

#include "base/mem.h"

static const char magic[8] = "QWTOK\r\n\x1A";
enum { BYTE_ORDER_MARK = 0x01020304, SECTION_ALIGN = 64 };

static_assert(sizeof(qw_tokenizer_header) == 8 + 8 + 16 + 8 + 2 * 24 + QW_N_SECTIONS * 16 +
                                                 QW_N_STRINGS * 8 + QW_N_STRINGS * 4 + 16 + 8,
              "the header has no padding: all its bytes are hashed and written");
static_assert(sizeof(qw_bpe_pair) == 16 && sizeof(qw_added_token) == 16, "as in the file");

qw_tokenizer_source qw_tokenizer_source_of(const qw_str *content)
{
    if (!content) return (qw_tokenizer_source){.size = UINT64_MAX};
    XXH128_hash_t h = XXH3_128bits(content->ptr, content->len);
    return (qw_tokenizer_source){content->len, {h.low64, h.high64}};
}

static XXH128_hash_t image_hash(const void *image, size_t size)
{
    size_t skip = offsetof(qw_tokenizer_header, size);
    return XXH3_128bits((const char *)image + skip, size - skip);
}

void qw_tokenizer_image_seal(void *image, size_t size)
{
    qw_tokenizer_header *h = image;
    XXH128_hash_t hash = image_hash(image, size);
    h->hash[0] = hash.low64;
    h->hash[1] = hash.high64;
}

qw_status qw_tokenizer_image_build(void **out, size_t *size, const qw_tokenizer_header *header,
                                   const qw_tokenizer_part parts[QW_N_SECTIONS], qw_error *err)
{
    qw_tokenizer_header h = *header;
    memcpy(h.magic, magic, sizeof magic);
    h.version = QW_TOKENIZER_IMAGE_VERSION;
    h.byte_order = BYTE_ORDER_MARK;
    size_t total = sizeof h;
    for (int i = 0; i < QW_N_SECTIONS; i++) {
        if (!qw_add_size(&total, total, SECTION_ALIGN - 1))
            return qw_fail_memory(err, total, "a tokenizer");
        total = total / SECTION_ALIGN * SECTION_ALIGN;
        h.sections[i].offset = total;
        h.sections[i].size = parts[i].size;
        if (!qw_add_size(&total, total, parts[i].size))
            return qw_fail_memory(err, total, "a tokenizer");
    }
    h.size = total;
    char *image = qw_mem_calloc(1, total);
    if (!image) return qw_fail_memory(err, total, "a tokenizer");
    memcpy(image, &h, sizeof h);
    for (int i = 0; i < QW_N_SECTIONS; i++)
        if (parts[i].size) memcpy(image + h.sections[i].offset, parts[i].data, parts[i].size);
    qw_tokenizer_image_seal(image, total);
    *out = image;
    *size = total;
    return QW_OK;
}

static qw_status damaged(qw_error *err, const char *why)
{
    return qw_fail(err, QW_ERR_FORMAT, "%s", why);
}

static qw_status check_header(const qw_tokenizer_header *h, const void *image, size_t size,
                              qw_error *err)
{
    if (size < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0)
        return damaged(err, "it is no compiled tokenizer");
    if (h->version != QW_TOKENIZER_IMAGE_VERSION || h->byte_order != BYTE_ORDER_MARK)
        return qw_fail(err, QW_ERR_FORMAT, "it has version %" PRIu32 " where %d is used",
                       h->version, QW_TOKENIZER_IMAGE_VERSION);
    if (h->size != size) return damaged(err, "it is cut off");
    XXH128_hash_t hash = image_hash(image, size);
    if (h->hash[0] != hash.low64 || h->hash[1] != hash.high64)
        return damaged(err, "its checksum does not fit");
    uint64_t end = sizeof *h;
    for (int i = 0; i < QW_N_SECTIONS; i++) {
        uint64_t offset = h->sections[i].offset;
        if (offset % SECTION_ALIGN || offset < end || offset > size ||
            h->sections[i].size > size - offset)
            return damaged(err, "a section lies outside of it");
        end = offset + h->sections[i].size;
    }
    if (h->has_nfc > 1 || h->ignore_merges > 1 || h->reserved != 0 || h->model_max_length < 0)
        return damaged(err, "a setting is out of range");
    return QW_OK;
}

// Section i as *n elements of `size` bytes; none when its size is no multiple.
static const void *section(const qw_tokenizer_header *h, qw_tokenizer_section i, size_t size,
                           size_t *n)
{
    *n = (size_t)h->sections[i].size / size;
    if (h->sections[i].size % size) *n = 0;
    return (const char *)h + h->sections[i].offset;
}

static bool is_power_of_two(size_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

static bool is_id(const qw_tokenizer_view *v, int32_t id)
{
    return id >= 0 && (size_t)id < v->n_ids;
}

static qw_status check_ids(qw_tokenizer_view *v, qw_error *err)
{
    size_t n_offsets, n_bytes, n_flags, n_byte_ids;
    v->id_offsets = section(v->header, QW_SECTION_ID_OFFSETS, sizeof(uint32_t), &n_offsets);
    v->id_bytes = section(v->header, QW_SECTION_ID_BYTES, 1, &n_bytes);
    v->id_flags = section(v->header, QW_SECTION_ID_FLAGS, 1, &n_flags);
    v->bpe.byte_ids = section(v->header, QW_SECTION_BYTE_IDS, sizeof(int32_t), &n_byte_ids);
    if (n_offsets < 2 || n_offsets > INT32_MAX || n_flags != n_offsets - 1 || n_byte_ids != 256)
        return damaged(err, "its tables have different lengths");
    v->n_ids = n_flags;
    if (v->id_offsets[0] != 0 || v->id_offsets[v->n_ids] != n_bytes)
        return damaged(err, "its token bytes are incomplete");
    for (size_t i = 0; i < v->n_ids; i++)
        if (v->id_offsets[i] > v->id_offsets[i + 1])
            return damaged(err, "its token bytes are out of order");
    for (size_t i = 0; i < 256; i++)
        if (!is_id(v, v->bpe.byte_ids[i])) return damaged(err, "a byte has no token");
    return QW_OK;
}

static qw_status check_tables(qw_tokenizer_view *v, qw_error *err)
{
    size_t n_empty = 0;
    v->bpe.slots = section(v->header, QW_SECTION_PAIRS, sizeof(qw_bpe_pair), &v->bpe.n_slots);
    if (!is_power_of_two(v->bpe.n_slots)) return damaged(err, "its merges are incomplete");
    for (size_t i = 0; i < v->bpe.n_slots; i++) {
        const qw_bpe_pair *p = &v->bpe.slots[i];
        if (p->rank < 0)
            n_empty++;
        else if (!is_id(v, p->left) || !is_id(v, p->right) || !is_id(v, p->result) ||
                 p->rank == INT32_MAX)
            return damaged(err, "a merge is out of range");
    }
    if (n_empty == 0) return damaged(err, "its merges have no end");
    n_empty = 0;
    v->lookup = section(v->header, QW_SECTION_LOOKUP, sizeof(int32_t), &v->n_lookup);
    if (!is_power_of_two(v->n_lookup)) return damaged(err, "its index is incomplete");
    for (size_t i = 0; i < v->n_lookup; i++) {
        if (v->lookup[i] == -1)
            n_empty++;
        else if (!is_id(v, v->lookup[i]))
            return damaged(err, "an index entry is out of range");
    }
    if (n_empty == 0) return damaged(err, "its index has no end");
    return QW_OK;
}

static qw_status check_added(qw_tokenizer_view *v, qw_error *err)
{
    size_t n_text;
    v->added = section(v->header, QW_SECTION_ADDED, sizeof(qw_added_token), &v->n_added);
    v->text = section(v->header, QW_SECTION_TEXT, 1, &n_text);
    size_t n_raw = v->header->n_added_raw;
    if (n_raw > v->n_added) return damaged(err, "its added tokens are incomplete");
    qw_str previous = {0};
    for (size_t i = 0; i < v->n_added; i++) {
        const qw_added_token *t = &v->added[i];
        if (!is_id(v, t->id) || t->flags > QW_ADDED_ALL_FLAGS || t->text_len == 0 ||
            t->text_offset > n_text || t->text_len > n_text - t->text_offset)
            return damaged(err, "an added token is out of range");
        qw_str text = {v->text + t->text_offset, t->text_len};
        if (i != 0 && i != n_raw && qw_added_compare(previous, text) >= 0)
            return damaged(err, "its added tokens are out of order");
        previous = text;
    }
    for (int i = 0; i < QW_N_STRINGS; i++) {
        uint32_t offset = v->header->strings[i].offset, len = v->header->strings[i].len;
        if (offset == UINT32_MAX ? len != 0 : (offset > n_text || len > n_text - offset))
            return damaged(err, "a string lies outside of it");
        if (v->header->string_ids[i] != -1 && !is_id(v, v->header->string_ids[i]))
            return damaged(err, "a special token is out of range");
    }
    return QW_OK;
}

qw_status qw_tokenizer_image_view(qw_tokenizer_view *out, const void *image, size_t size,
                                  qw_error *err)
{
    qw_tokenizer_view v = {.header = image};
    qw_status st = check_header(image, image, size, err);
    if (st == QW_OK) st = check_ids(&v, err);
    if (st == QW_OK) st = check_tables(&v, err);
    if (st == QW_OK) st = check_added(&v, err);
    if (st == QW_OK) *out = v;
    return st;
}

qw_str qw_tokenizer_view_string(const qw_tokenizer_view *v, qw_tokenizer_string which)
{
    uint32_t offset = v->header->strings[which].offset;
    if (offset == UINT32_MAX) return (qw_str){NULL, 0};
    return (qw_str){v->text + offset, v->header->strings[which].len};
}

size_t qw_tokenizer_lookup_slots(size_t n)
{
    size_t n_slots = 4;
    while (n_slots / 2 <= n) n_slots *= 2; // n is far below SIZE_MAX: the tokens are in memory
    return n_slots;
}

size_t qw_tokenizer_lookup_slot(size_t n_lookup, qw_str bytes)
{
    return (size_t)XXH3_64bits(bytes.ptr, bytes.len) & (n_lookup - 1);
}
