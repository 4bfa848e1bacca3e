/* SPDX-License-Identifier: MIT */
/*
 * Lines and words of plinth.conf.
 *
 *   [guest linux]            # a section
 *   cmdline = "a=b # c"      # a setting: key, '=', value
 *
 * A comment is '#' at the start of a line or after a blank, outside double quotes. Lines end with LF, CR LF or CR.
 * Positions count bytes, so a tab is one column.
 */
#include "config/config_internal.h"

#include "hv/base/memory.h"

#define DISTANCE_TEXT_MAX 24u

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct config_piece piece_part(struct config_piece piece, size_t from, size_t to)
{
    return (struct config_piece){
        {piece.text.start + from, to - from},
        {piece.position.line, piece.position.column + (uint32_t)from},
    };
}

struct config_piece config_trim(struct config_piece piece)
{
    size_t from = 0;
    size_t to = piece.text.length;

    while (from < to && is_blank(piece.text.start[from])) {
        from++;
    }
    while (to > from && is_blank(piece.text.start[to - 1])) {
        to--;
    }
    return piece_part(piece, from, to);
}

struct config_reader config_reader_of(struct text file)
{
    static const char mark[] = "\xef\xbb\xbf";
    bool marked = file.length >= sizeof(mark) - 1 && memcmp(file.start, mark, sizeof(mark) - 1) == 0;

    return (struct config_reader){.file = file, .offset = marked ? sizeof(mark) - 1 : 0};
}

/* Takes the next line off the file, without its end. */
static bool take_line(struct config_reader *reader, struct config_piece *line)
{
    const struct text *file = &reader->file;
    size_t start = reader->offset;
    size_t end = start;

    if (start >= file->length) {
        return false;
    }
    while (end < file->length && file->start[end] != '\n' && file->start[end] != '\r') {
        end++;
    }
    reader->offset = end + 1;
    if (end + 1 < file->length && file->start[end] == '\r' && file->start[end + 1] == '\n') {
        reader->offset++;
    }
    reader->line++;
    *line = (struct config_piece){{file->start + start, end - start}, {reader->line, 1}};
    return true;
}

static struct config_piece without_comment(struct config_piece line)
{
    bool quoted = false;

    for (size_t i = 0; i < line.text.length; i++) {
        char c = line.text.start[i];

        if (c == '"') {
            quoted = !quoted;
        } else if (c == '#' && !quoted && (i == 0 || is_blank(line.text.start[i - 1]))) {
            return piece_part(line, 0, i);
        }
    }
    return line;
}

/* The offset of a character in a text, or the text's length. */
static size_t offset_of(struct text text, char c)
{
    size_t i = 0;

    while (i < text.length && text.start[i] != c) {
        i++;
    }
    return i;
}

bool config_read_raw(struct config_reader *reader, struct config_piece *line)
{
    if (!take_line(reader, line)) {
        return false;
    }
    *line = config_trim(*line);
    return true;
}

bool config_read_line(struct config_reader *reader, struct config_line *line)
{
    struct config_piece piece;
    size_t equals;

    if (!take_line(reader, &piece)) {
        return false;
    }
    piece = config_trim(without_comment(piece));
    *line = (struct config_line){.kind = LINE_BLANK, .name = piece, .value = piece};
    if (piece.text.length == 0) {
        return true;
    }
    if (piece.text.start[0] == '[') {
        bool closed = piece.text.start[piece.text.length - 1] == ']';

        line->kind = closed ? LINE_SECTION : LINE_NO_CLOSE;
        line->name = closed ? config_trim(piece_part(piece, 1, piece.text.length - 1)) : piece;
        return true;
    }
    equals = offset_of(piece.text, '=');
    line->kind = equals < piece.text.length && equals != 0 ? LINE_SETTING : LINE_UNKNOWN;
    if (line->kind == LINE_SETTING) {
        line->name = config_trim(piece_part(piece, 0, equals));
        line->value = config_trim(piece_part(piece, equals + 1, piece.text.length));
    }
    return true;
}

bool config_take_word(struct config_piece *rest, struct config_piece *word)
{
    struct config_piece all = config_trim(*rest);
    bool quoted = all.text.length != 0 && all.text.start[0] == '"';
    size_t from = quoted ? 1 : 0;
    size_t end = from;

    while (end < all.text.length && (quoted ? all.text.start[end] != '"' : !is_blank(all.text.start[end]))) {
        end++;
    }
    *word = piece_part(all, from, end);
    if (quoted && end == all.text.length) {
        return false;
    }
    *rest = config_trim(piece_part(all, quoted ? end + 1 : end, all.text.length));
    return true;
}

bool config_unquote(struct config_piece *piece)
{
    size_t length = piece->text.length;

    if (length == 0 || piece->text.start[0] != '"') {
        return true;
    }
    if (length < 2 || offset_of((struct text){piece->text.start + 1, length - 1}, '"') != length - 2) {
        return false;
    }
    *piece = piece_part(*piece, 1, length - 1);
    return true;
}

/* The form in which names are compared. */
static char folded(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c == '_' ? '-' : c;
}

bool config_text_alike(struct text left, const char *right)
{
    struct text other = text_of(right);

    if (left.length != other.length) {
        return false;
    }
    for (size_t i = 0; i < left.length; i++) {
        if (folded(left.start[i]) != folded(right[i])) {
            return false;
        }
    }
    return true;
}

bool config_text_one_of(struct text text, const char *words)
{
    struct text wanted = text_of(words);
    size_t end;

    for (size_t start = 0; start < wanted.length; start = end + 1) {
        size_t i = 0;

        end = start;
        while (end < wanted.length && wanted.start[end] != ' ') {
            end++;
        }
        while (i < text.length && start + i < end && folded(text.start[i]) == folded(wanted.start[start + i])) {
            i++;
        }
        if (i == text.length && start + i == end) {
            return true;
        }
    }
    return false;
}

/* Levenshtein's distance, one row at a time. */
uint32_t config_text_distance(struct text left, const char *right)
{
    uint32_t row[DISTANCE_TEXT_MAX + 1];
    struct text other = text_of(right);

    if (left.length > DISTANCE_TEXT_MAX || other.length > DISTANCE_TEXT_MAX) {
        return DISTANCE_TEXT_MAX;
    }
    for (uint32_t j = 0; j <= other.length; j++) {
        row[j] = j;
    }
    for (uint32_t i = 0; i < left.length; i++) {
        uint32_t diagonal = row[0];

        row[0] = i + 1;
        for (uint32_t j = 0; j < other.length; j++) {
            uint32_t change = diagonal + (folded(left.start[i]) != folded(right[j]) ? 1 : 0);

            diagonal = row[j + 1];
            row[j + 1] = (uint32_t)min_u64(change, min_u64(row[j], row[j + 1]) + 1);
        }
    }
    return row[other.length];
}
