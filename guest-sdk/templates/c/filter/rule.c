// Drops every container that uses less CPU than a floor.
//
//   [settings]
//   min-millicores = 5
#include "millrace.h"

static int64_t min_millicores;

void exports_millrace_rule_rule_describe(mr_description *about) {
  millrace_rule_string_dup(&about->name, RULE_NAME);
  millrace_rule_string_dup(&about->version, RULE_VERSION);
  millrace_rule_string_dup(&about->sdk, "c/0.1.0");
  millrace_rule_string_dup(&about->settings_schema,
                           "{\"type\":\"object\",\"required\":[\"min-millicores\"],\"additionalProperties\":false,"
                           "\"properties\":{\"min-millicores\":{\"type\":\"integer\",\"minimum\":1}}}");
}

// `settings` is a JSON object: what stands under [settings]. A key that is not known is refused.
static bool configure(const mr_string *settings, mr_error *error) {
  const uint8_t refused = EXPORTS_MILLRACE_RULE_RULE_ERROR_SETTINGS;
  struct mr_text key, value, nothing = {"", 0};
  bool given = false;
  for (size_t at = 0; mr_next_setting(settings, &at, &key, &value);) {
    if (!mr_is(key, "min-millicores")) {
      return mr_refuse(error, refused, "unknown field `", key, "`, expected `min-millicores`");
    }
    if (!mr_int(value, &min_millicores)) {
      return mr_refuse(error, refused, "`min-millicores` is ", value, "; write a whole number");
    }
    given = true;
  }
  if (!given) return mr_refuse(error, refused, "missing field `min-millicores`", nothing, "");
  if (min_millicores < 1) {
    return mr_refuse(error, refused, "`min-millicores` is less than 1; nothing would ever be dropped", nothing, "");
  }
  return true;
}

bool exports_millrace_rule_rule_configure(mr_string *settings, mr_error *error) {
  bool taken = configure(settings, error);
  millrace_rule_string_free(settings);
  return taken;
}

bool exports_millrace_rule_rule_process(mr_cycle *cycle, mr_batch *batch, mr_edit *edit, mr_error *error) {
  (void)cycle;
  (void)error;
  memset(edit, 0, sizeof *edit);
  uint32_t rate = mr_metric(batch, "cpu/usage_rate");
  for (uint32_t entity = 0; rate != MR_NONE && entity < batch->entities.level.len; entity++) {
    if (batch->entities.level.ptr[entity] != MR_CONTAINER) continue;
    uint32_t point = mr_point(batch, entity, rate);
    if (point != MR_NONE && (int64_t)batch->points.bits.ptr[point] < min_millicores) {
      mr_drop_entity(batch, edit, entity);
    }
  }
  exports_millrace_rule_rule_batch_free(batch);
  return true;
}

bool exports_millrace_rule_rule_finish(mr_cycle *cycle, mr_edit *edit, mr_error *error) {
  (void)cycle;
  (void)error;
  memset(edit, 0, sizeof *edit);
  return true;
}
