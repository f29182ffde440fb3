// A small kit for rules in C: short names for the contract's types, and what nearly every rule does.
// The contract itself is gen/millrace_rule.h.
#pragma once
#include "gen/millrace_rule.h"
#include <stdlib.h>
#include <string.h>

typedef millrace_rule_string_t mr_string;
typedef exports_millrace_rule_rule_description_t mr_description;
typedef exports_millrace_rule_rule_cycle_t mr_cycle;
typedef exports_millrace_rule_rule_batch_t mr_batch;
typedef exports_millrace_rule_rule_edit_t mr_edit;
typedef exports_millrace_rule_rule_error_t mr_error;

enum mr_level { MR_CLUSTER, MR_NODE, MR_NAMESPACE, MR_POD, MR_CONTAINER, MR_SYSTEM_CONTAINER, MR_OTHER };

// No such symbol, metric or label; as a label's new value: the label goes.
#define MR_NONE UINT32_MAX

// A piece of text that belongs to somebody else.
struct mr_text {
  const char *at;
  size_t length;
};

bool mr_is(struct mr_text text, const char *other);

// ---- Looking at a batch. Symbols are compared instead of strings: look them up once a batch. ----

// The symbol of a string, or MR_NONE if the batch does not have it.
uint32_t mr_symbol(const mr_batch *batch, const char *text);
// The string of a symbol.
struct mr_text mr_text_of(const mr_batch *batch, uint32_t symbol);
// The row of a metric, or MR_NONE.
uint32_t mr_metric(const mr_batch *batch, const char *name);
// The symbol of an entity's label's value, or MR_NONE.
uint32_t mr_label(const mr_batch *batch, uint32_t entity, uint32_t name);
// The points of an entity are those from its first up to, without, the next one's first.
uint32_t mr_first_point(const mr_batch *batch, uint32_t entity);
// The row of an entity's point of a metric without labels of its own, or MR_NONE.
uint32_t mr_point(const mr_batch *batch, uint32_t entity, uint32_t metric);

// ---- Making an edit. Begin with an empty one; what is not mentioned stays as it was. ----

void mr_drop_entity(const mr_batch *batch, mr_edit *edit, uint32_t entity);
void mr_drop_point(const mr_batch *batch, mr_edit *edit, uint32_t point);
// A symbol for a string, the batch's own or a new one.
uint32_t mr_new_symbol(const mr_batch *batch, mr_edit *edit, const char *text, size_t length);
// Sets a label, or takes it away with MR_NONE.
void mr_set_label(mr_edit *edit, uint32_t entity, uint32_t name, uint32_t value);

// ---- Settings: a JSON object. ----

// The next key and its value, as they stand in the JSON. Begin with *at = 0; false at the end.
bool mr_next_setting(const mr_string *settings, size_t *at, struct mr_text *key, struct mr_text *value);
// Whether a value is a whole number.
bool mr_int(struct mr_text value, int64_t *number);

// ---- Errors and the log. ----

// Fills in an error (EXPORTS_MILLRACE_RULE_RULE_ERROR_…) made of up to three pieces; answers false,
// which is what the functions of a rule answer then.
bool mr_refuse(mr_error *error, uint8_t kind, const char *before, struct mr_text what, const char *after);
// A line in Millrace's log under the rule's name.
void mr_log(millrace_rule_host_severity_t severity, const char *text);
