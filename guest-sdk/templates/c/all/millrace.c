#include "millrace.h"

bool mr_is(struct mr_text text, const char *other) {
  return strlen(other) == text.length && memcmp(text.at, other, text.length) == 0;
}

static void *grown(void *list, size_t length, size_t each) {
  // Room doubles whenever the length is a power of two.
  if (length & (length - 1)) return list;
  void *larger = realloc(length ? list : NULL, (length ? 2 * length : 1) * each);
  if (!larger) abort();
  return larger;
}

#define PUSH(list, value)                                                        \
  do {                                                                           \
    (list).ptr = grown((list).ptr, (list).len, sizeof *(list).ptr);              \
    (list).ptr[(list).len++] = (value);                                          \
  } while (0)

struct mr_text mr_text_of(const mr_batch *batch, uint32_t symbol) {
  const uint32_t *ends = batch->symbols.ends.ptr;
  uint32_t start = symbol ? ends[symbol - 1] : 0;
  return (struct mr_text){(const char *)batch->symbols.text.ptr + start, ends[symbol] - start};
}

static uint32_t find(const mr_batch *batch, const char *text, size_t length) {
  for (uint32_t symbol = 0; symbol < batch->symbols.ends.len; symbol++) {
    struct mr_text known = mr_text_of(batch, symbol);
    if (known.length == length && memcmp(known.at, text, length) == 0) return symbol;
  }
  return MR_NONE;
}

uint32_t mr_symbol(const mr_batch *batch, const char *text) { return find(batch, text, strlen(text)); }

uint32_t mr_metric(const mr_batch *batch, const char *name) {
  for (uint32_t metric = 0; metric < batch->metrics.name.len; metric++) {
    if (mr_is(mr_text_of(batch, batch->metrics.name.ptr[metric]), name)) return metric;
  }
  return MR_NONE;
}

uint32_t mr_label(const mr_batch *batch, uint32_t entity, uint32_t name) {
  const uint32_t *ends = batch->entities.label_ends.ptr;
  for (uint32_t at = entity ? ends[entity - 1] : 0; at < ends[entity]; at++) {
    if (batch->entities.label_names.ptr[at] == name) return batch->entities.label_values.ptr[at];
  }
  return MR_NONE;
}

uint32_t mr_first_point(const mr_batch *batch, uint32_t entity) {
  return entity ? batch->entities.point_ends.ptr[entity - 1] : 0;
}

uint32_t mr_point(const mr_batch *batch, uint32_t entity, uint32_t metric) {
  uint32_t end = batch->entities.point_ends.ptr[entity];
  for (uint32_t at = mr_first_point(batch, entity); at < end; at++) {
    if (batch->points.metric.ptr[at] == metric && batch->points.labels.ptr[at] == 0) return at;
  }
  return MR_NONE;
}

static void drop(millrace_rule_list_u8_t *keep, size_t rows, uint32_t row) {
  if (!keep->len) {
    keep->ptr = malloc(rows);
    if (!keep->ptr) abort();
    memset(keep->ptr, 1, rows);
    keep->len = rows;
  }
  keep->ptr[row] = 0;
}

void mr_drop_entity(const mr_batch *batch, mr_edit *edit, uint32_t entity) {
  drop(&edit->keep_entities, batch->entities.level.len, entity);
}

void mr_drop_point(const mr_batch *batch, mr_edit *edit, uint32_t point) {
  drop(&edit->keep_points, batch->points.metric.len, point);
}

uint32_t mr_new_symbol(const mr_batch *batch, mr_edit *edit, const char *text, size_t length) {
  uint32_t known = find(batch, text, length);
  if (known != MR_NONE) return known;
  for (size_t at = 0; at < length; at++) PUSH(edit->new_symbols.text, (uint8_t)text[at]);
  PUSH(edit->new_symbols.ends, (uint32_t)edit->new_symbols.text.len);
  return (uint32_t)(batch->symbols.ends.len + edit->new_symbols.ends.len - 1);
}

void mr_set_label(mr_edit *edit, uint32_t entity, uint32_t name, uint32_t value) {
  PUSH(edit->relabel_entity, entity);
  PUSH(edit->relabel_name, name);
  PUSH(edit->relabel_value, value);
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The end of the JSON value that begins at `at`.
static size_t value_end(const char *text, size_t length, size_t at) {
  size_t depth = 0;
  bool quoted = false;
  for (; at < length; at++) {
    char c = text[at];
    if (quoted) {
      if (c == '\\') at++;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if (c == '}' || c == ']') {
      if (!depth) break;
      depth--;
    } else if (!depth && (c == ',' || c == ':' || is_space(c))) {
      break;
    }
  }
  return at < length ? at : length;
}

bool mr_next_setting(const mr_string *settings, size_t *at, struct mr_text *key, struct mr_text *value) {
  const char *text = (const char *)settings->ptr;
  struct mr_text *parts[2] = {key, value};
  for (int part = 0; part < 2; part++) {
    while (*at < settings->len && (is_space(text[*at]) || text[*at] == ',' || text[*at] == ':' || (*at == 0 && text[0] == '{'))) ++*at;
    size_t end = value_end(text, settings->len, *at);
    if (end == *at) return false;
    *parts[part] = (struct mr_text){text + *at, end - *at};
    *at = end;
  }
  if (key->length >= 2) *key = (struct mr_text){key->at + 1, key->length - 2};
  return true;
}

bool mr_int(struct mr_text value, int64_t *number) {
  size_t at = value.length && value.at[0] == '-';
  if (at == value.length) return false;
  int64_t sum = 0;
  for (; at < value.length; at++) {
    if (value.at[at] < '0' || value.at[at] > '9') return false;
    if (sum < INT64_MIN / 10) return false;
    if (__builtin_sub_overflow(10 * sum, value.at[at] - '0', &sum)) return false;
  }
  // Counted downwards: there is one more number below zero.
  if (value.at[0] == '-') {
    *number = sum;
    return true;
  }
  return !__builtin_sub_overflow(0, sum, number);
}

bool mr_refuse(mr_error *error, uint8_t kind, const char *before, struct mr_text what, const char *after) {
  size_t head = strlen(before), tail = strlen(after);
  char *text = malloc(head + what.length + tail);
  if (!text) abort();
  memcpy(text, before, head);
  memcpy(text + head, what.at, what.length);
  memcpy(text + head + what.length, after, tail);
  error->tag = kind;
  error->val.settings = (mr_string){(uint8_t *)text, head + what.length + tail};
  return false;
}

void mr_log(millrace_rule_host_severity_t severity, const char *text) {
  mr_string line = {(uint8_t *)text, strlen(text)};
  millrace_rule_host_log(severity, &line);
}
