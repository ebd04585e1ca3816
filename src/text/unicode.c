#include "text/unicode.h"

#include <pthread.h>
#include <utf8proc.h>

/* Where the reference's answer differs from utf8proc's. old: the reference's normalisation tables do not know the code
 * point yet, so it neither decomposes nor has a combining class. */
typedef struct exception_range {
    uint32_t first, last;
    uint8_t bits; /* in place of what utf8proc's category says */
    bool old;
} exception_range;

#define REMOVE CHAR_REMOVED
#define MARK CHAR_MARK
#define PUNCT CHAR_PUNCT

static const exception_range exceptions[] = {
    {0x61D, 0x61D, 0, false},         {0x7FD, 0x7FD, 0, true},       {0x890, 0x891, 0, false},
    {0x898, 0x89F, 0, true},          {0x8CA, 0x8D3, 0, true},       {0x8D4, 0x8E2, 0, false},
    {0x9FD, 0x9FD, 0, false},         {0x9FE, 0x9FE, 0, true},       {0xA76, 0xA76, 0, false},
    {0xAFA, 0xAFF, 0, false},         {0xB55, 0xB55, 0, false},      {0xC04, 0xC04, 0, false},
    {0xC3C, 0xC3C, 0, true},          {0xC77, 0xC77, 0, false},      {0xC84, 0xC84, 0, false},
    {0xD00, 0xD00, 0, false},         {0xD3B, 0xD3C, 0, true},       {0xD81, 0xD81, 0, false},
    {0xEBA, 0xEBA, 0, true},          {0xECE, 0xECE, 0, false},      {0x166D, 0x166D, PUNCT, false},
    {0x1715, 0x1715, 0, true},        {0x1734, 0x1734, MARK, false}, {0x180F, 0x180F, 0, false},
    {0x1885, 0x1886, 0, false},       {0x1ABF, 0x1ACE, 0, true},     {0x1B7D, 0x1B7E, 0, false},
    {0x1DF6, 0x1DFA, 0, true},        {0x1DFB, 0x1DFB, 0, false},    {0x2E43, 0x2E4F, 0, false},
    {0x2E52, 0x2E5D, 0, false},       {0xA82C, 0xA82C, 0, true},     {0xA8C5, 0xA8C5, 0, false},
    {0xA8FF, 0xA8FF, 0, false},       {0xA9BD, 0xA9BD, 0, false},    {0xFFFD, 0xFFFD, REMOVE, false},
    {0x10D24, 0x10D27, 0, true},      {0x10EAB, 0x10EAC, 0, true},   {0x10EAD, 0x10EAD, 0, false},
    {0x10EFD, 0x10EFF, 0, true},      {0x10F46, 0x10F50, 0, true},   {0x10F55, 0x10F59, 0, false},
    {0x10F82, 0x10F85, 0, true},      {0x10F86, 0x10F89, 0, false},  {0x11070, 0x11070, 0, true},
    {0x11073, 0x11074, 0, false},     {0x110C2, 0x110C2, 0, false},  {0x110CD, 0x110CD, 0, false},
    {0x111C9, 0x111C9, PUNCT, false}, {0x111CF, 0x111CF, 0, false},  {0x1123E, 0x1123E, 0, false},
    {0x11241, 0x11241, 0, false},     {0x1133B, 0x1133B, 0, true},   {0x11438, 0x1143F, 0, false},
    {0x11442, 0x11444, 0, false},     {0x11446, 0x11446, 0, false},  {0x1144B, 0x1144F, 0, false},
    {0x1145A, 0x1145B, 0, false},     {0x1145D, 0x1145D, 0, false},  {0x1145E, 0x1145E, 0, true},
    {0x11660, 0x1166C, 0, false},     {0x116B9, 0x116B9, 0, false},  {0x1182F, 0x11837, 0, false},
    {0x11839, 0x1183A, 0, true},      {0x1183B, 0x1183B, 0, false},  {0x11938, 0x11938, 0, true},
    {0x1193B, 0x1193C, 0, false},     {0x1193D, 0x1193E, 0, true},   {0x11943, 0x11943, 0, true},
    {0x11944, 0x11946, 0, false},     {0x119D4, 0x119D7, 0, false},  {0x119DA, 0x119DB, 0, false},
    {0x119E0, 0x119E0, 0, true},      {0x119E2, 0x119E2, 0, false},  {0x11A01, 0x11A0A, 0, false},
    {0x11A33, 0x11A33, 0, false},     {0x11A34, 0x11A34, 0, true},   {0x11A35, 0x11A38, 0, false},
    {0x11A3B, 0x11A46, 0, false},     {0x11A47, 0x11A47, 0, true},   {0x11A51, 0x11A56, 0, false},
    {0x11A59, 0x11A5B, 0, false},     {0x11A8A, 0x11A96, 0, false},  {0x11A98, 0x11A98, 0, false},
    {0x11A99, 0x11A99, 0, true},      {0x11A9A, 0x11A9C, 0, false},  {0x11A9E, 0x11AA2, 0, false},
    {0x11B00, 0x11B09, 0, false},     {0x11C30, 0x11C36, 0, false},  {0x11C38, 0x11C3D, 0, false},
    {0x11C3F, 0x11C3F, 0, false},     {0x11C41, 0x11C45, 0, false},  {0x11C70, 0x11C71, 0, false},
    {0x11C92, 0x11CA7, 0, false},     {0x11CAA, 0x11CB0, 0, false},  {0x11CB2, 0x11CB3, 0, false},
    {0x11CB5, 0x11CB6, 0, false},     {0x11D31, 0x11D36, 0, false},  {0x11D3A, 0x11D3A, 0, false},
    {0x11D3C, 0x11D3D, 0, false},     {0x11D3F, 0x11D41, 0, false},  {0x11D42, 0x11D42, 0, true},
    {0x11D43, 0x11D43, 0, false},     {0x11D44, 0x11D45, 0, true},   {0x11D47, 0x11D47, 0, false},
    {0x11D90, 0x11D91, 0, false},     {0x11D95, 0x11D95, 0, false},  {0x11D97, 0x11D97, 0, true},
    {0x11EF3, 0x11EF4, 0, false},     {0x11EF7, 0x11EF8, 0, false},  {0x11F00, 0x11F01, 0, false},
    {0x11F36, 0x11F3A, 0, false},     {0x11F40, 0x11F40, 0, false},  {0x11F41, 0x11F42, 0, true},
    {0x11F43, 0x11F4F, 0, false},     {0x11FFF, 0x11FFF, 0, false},  {0x12FF1, 0x12FF2, 0, false},
    {0x13430, 0x13440, 0, false},     {0x13447, 0x13455, 0, false},  {0x16E97, 0x16E9A, 0, false},
    {0x16F4F, 0x16F4F, 0, false},     {0x16FE2, 0x16FE2, 0, false},  {0x16FE4, 0x16FE4, 0, false},
    {0x16FF0, 0x16FF1, 0, true},      {0x1CF00, 0x1CF2D, 0, false},  {0x1CF30, 0x1CF46, 0, false},
    {0x1E000, 0x1E006, 0, false},     {0x1E008, 0x1E018, 0, false},  {0x1E01B, 0x1E021, 0, false},
    {0x1E023, 0x1E024, 0, false},     {0x1E026, 0x1E02A, 0, false},  {0x1E08F, 0x1E08F, 0, true},
    {0x1E130, 0x1E136, 0, true},      {0x1E2AE, 0x1E2AE, 0, true},   {0x1E2EC, 0x1E2EF, 0, true},
    {0x1E4EC, 0x1E4EF, 0, true},      {0x1E944, 0x1E94A, 0, false},  {0x1E95E, 0x1E95F, 0, false},
};

#undef REMOVE
#undef MARK
#undef PUNCT

/* Case pairs newer than utf8proc's tables, and the one lower case that is two code points. */
typedef struct lower_range {
    uint32_t first, last, lower;
} lower_range;

static const lower_range newer_lower[] = {
    {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x0264},    {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
    {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},    {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x019B},
    {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB},
};

static const exception_range *exception_find(uint32_t code)
{
    size_t low = 0, high = sizeof exceptions / sizeof exceptions[0];
    if (code < exceptions[0].first) return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (exceptions[middle].last < code) low = middle + 1;
        else high = middle;
    }
    if (low == sizeof exceptions / sizeof exceptions[0] || exceptions[low].first > code) return NULL;
    return &exceptions[low];
}

static bool is_white(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}

/* The blocks that BERT calls Chinese; U+2B820..U+2B91F is missing there too. */
static bool is_chinese(uint32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
           (code >= 0x2B740 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
           (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

static unsigned category_bits(utf8proc_category_t category, uint32_t code)
{
    switch (category) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO: return code == '\t' || code == '\n' || code == '\r' ? 0 : CHAR_REMOVED;
    case UTF8PROC_CATEGORY_MN: return CHAR_MARK;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return CHAR_PUNCT;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK: return code < 0x80 ? CHAR_PUNCT : 0; /* $ + < = > ^ ` | ~ */
    default: return 0;
    }
}

/* Hangul syllables decompose by arithmetic, everything else by a table. */
static bool decomposes(const utf8proc_property_t *property, uint32_t code)
{
    uint32_t parts[UNICODE_PARTS_MAX];
    if (property->combining_class != 0) return true;
    if (property->decomp_seqindex == UINT16_MAX && (code < 0xAC00 || code > 0xD7A3)) return false;
    return unicode_decompose(code, parts) != 1 || parts[0] != code; /* compatibility decompositions are not meant */
}

static const lower_range *newer_lower_find(uint32_t code)
{
    if (code < newer_lower[0].first) return NULL;
    for (size_t i = 0; i < sizeof newer_lower / sizeof newer_lower[0]; i++)
        if (code >= newer_lower[i].first && code <= newer_lower[i].last) return &newer_lower[i];
    return NULL;
}

unsigned unicode_class(uint32_t code)
{
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)code);
    const exception_range *exception = exception_find(code);
    unsigned bits = exception != NULL ? exception->bits : category_bits((utf8proc_category_t)property->category, code);
    if (is_white(code)) bits |= CHAR_WHITE;
    if (is_chinese(code)) bits |= CHAR_CHINESE;
    if ((exception == NULL || !exception->old) && decomposes(property, code)) bits |= CHAR_DECOMPOSES;
    if (property->lowercase_seqindex != UINT16_MAX || newer_lower_find(code) != NULL) bits |= CHAR_CASED;
    return bits;
}

static unsigned char classes[UNICODE_TABLE_CODES];
static pthread_once_t classes_once = PTHREAD_ONCE_INIT;

static void classes_fill(void)
{
    for (uint32_t code = 0; code < UNICODE_TABLE_CODES; code++) classes[code] = (unsigned char)unicode_class(code);
}

const unsigned char *unicode_classes(void)
{
    (void)pthread_once(&classes_once, classes_fill); /* fails for no once and no function: neither is so */
    return classes;
}

size_t unicode_decompose(uint32_t code, uint32_t parts[UNICODE_PARTS_MAX])
{
    utf8proc_int32_t wide[UNICODE_PARTS_MAX];
    int boundary = 0;
    const exception_range *exception = code < 0x80 ? NULL : exception_find(code);
    parts[0] = code;
    if (code < 0x80 || (exception != NULL && exception->old)) return 1;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, wide, UNICODE_PARTS_MAX, UTF8PROC_DECOMPOSE,
                                                 &boundary);
    if (n < 1 || n > UNICODE_PARTS_MAX) return 1; /* no scalar value; test_unicode.c shows that none is longer */
    for (utf8proc_ssize_t i = 0; i < n; i++) parts[i] = (uint32_t)wide[i];
    return (size_t)n;
}

unsigned unicode_combining_class(uint32_t code)
{
    const exception_range *exception = exception_find(code);
    if (exception != NULL && exception->old) return 0;
    return (unsigned)utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

size_t unicode_lower(uint32_t code, uint32_t parts[UNICODE_PARTS_MAX])
{
    if (code == 0x130) { /* I with dot above: i and a combining dot */
        parts[0] = 'i';
        parts[1] = 0x307;
        return 2;
    }
    parts[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    const lower_range *newer = parts[0] == code ? newer_lower_find(code) : NULL;
    if (newer != NULL) parts[0] = newer->lower + (code - newer->first);
    return 1;
}

/* Word characters that their category does not show: Join_Control, Other_Alphabetic, and those newer than utf8proc's
 * tables. */
static const uint32_t other_words[][2] = {
    {0x200C, 0x200D},   {0x24B6, 0x24E9},   {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}, {0x897, 0x897},
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D40, 0x10D65}, {0x10D69, 0x10D6D},
    {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x10EFC, 0x10EFC}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E},
    {0x11390, 0x113B5}, {0x113B7, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D3},
    {0x113E1, 0x113E2}, {0x116D0, 0x116E3}, {0x11BC0, 0x11BE0}, {0x11BF0, 0x11BF9}, {0x11F5A, 0x11F5A}, {0x13460, 0x143FA},
    {0x16100, 0x16139}, {0x16D40, 0x16D6C}, {0x16D70, 0x16D79}, {0x18CFF, 0x18CFF}, {0x1CCF0, 0x1CCF9}, {0x1E5D0, 0x1E5FA},
    {0x2EBF0, 0x2EE5D},
};

bool unicode_is_word(uint32_t code)
{
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    for (size_t i = 0; i < sizeof other_words / sizeof other_words[0]; i++)
        if (code >= other_words[i][0] && code <= other_words[i][1]) return true;
    return false;
}
