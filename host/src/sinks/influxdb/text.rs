//! Names and values in the line protocol's spelling.
//!
//! InfluxDB 1.x knows three escapes: a backslash before a comma, a space, or (in keys and tag
//! values) an equals sign. A backslash can't be escaped itself: before one of these, or at the end,
//! it would take the next character's meaning away. There it becomes a slash. A line feed would
//! end the line and becomes a space. Everything else is written as it is.

/// Appends a measurement. The server skips white space before it and takes a `#` for a comment.
pub fn push_measurement(out: &mut Vec<u8>, name: &str) {
    let rest = name.strip_prefix(['#', '\t', '\0']);
    if rest.is_some() {
        out.push(b'_');
    }
    push(out, rest.unwrap_or(name), false);
}

/// Appends a field's name. The server skips white space before the first.
pub fn push_field(out: &mut Vec<u8>, name: &str) {
    let rest = name.strip_prefix(['\t', '\0']);
    if rest.is_some() {
        out.push(b'_');
    }
    push_key(out, rest.unwrap_or(name));
}

/// Appends a tag's name. A tag `time` is refused, a field `time` silently dropped, and later
/// versions refuse the other two, so they get an underscore.
pub fn push_key(out: &mut Vec<u8>, name: &str) {
    push(out, name, true);
    if matches!(name, "time" | "_field" | "_measurement") {
        out.push(b'_');
    }
}

/// Appends a tag's value.
pub fn push_value(out: &mut Vec<u8>, value: &str) {
    push(out, value, true);
}

/// What the server keeps of what one of these appends.
pub fn stored(push: fn(&mut Vec<u8>, &str), text: &str) -> String {
    let mut escaped = Vec::new();
    push(&mut escaped, text);
    let mut kept = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.into_iter().peekable();
    while let Some(byte) = bytes.next() {
        let escapes = byte == b'\\' && matches!(bytes.peek(), Some(b',' | b' ' | b'='));
        kept.push(if escapes { bytes.next().unwrap_or(byte) } else { byte });
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn push(out: &mut Vec<u8>, text: &str, escape_equals: bool) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let replaced: &[u8] = match byte {
            b',' => b"\\,",
            b' ' | b'\n' => b"\\ ",
            b'=' if escape_equals => b"\\=",
            b'\\' if is_ambiguous_before(bytes.get(at + 1)) => b"/",
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        out.extend_from_slice(replaced);
        plain = at + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
}

fn is_ambiguous_before(next: Option<&u8>) -> bool {
    matches!(next, None | Some(b',' | b' ' | b'\n' | b'=' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_character_is_spelled_as_the_server_reads_it() {
        type Push = fn(&mut Vec<u8>, &str);
        for (push, text, want) in [
            (push_value as Push, "plain/é", "plain/é"),
            (push_value, "a,b c=d", "a\\,b\\ c\\=d"),
            (push_value, "two\nlines", "two\\ lines"),
            (push_value, "a\\b", "a\\b"),
            (push_value, "C:\\", "C:/"),
            (push_value, "a\\\\", "a\\/"),
            (push_value, "a\\,b", "a/\\,b"),
            (push_value, "a\\ b", "a/\\ b"),
            (push_value, "a\\=b", "a/\\=b"),
            (push_value, "say \"x\"", "say\\ \"x\""),
            (push_key, "time", "time_"),
            (push_key, "_field", "_field_"),
            (push_key, "timer", "timer"),
            (push_measurement, "a=b,c d", "a=b\\,c\\ d"),
            (push_measurement, "#x", "_x"),
            (push_measurement, "\tx", "_x"),
            (push_measurement, "", ""),
            (push_field, "\0", "_"),
            (push_field, "\ttime", "_time_"),
            (push_field, "#a b", "#a\\ b"),
        ] {
            let mut out = Vec::new();
            push(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_kept_has_no_escapes() {
        for (text, want) in
            [("a,b c=d", "a,b c=d"), ("C:\\", "C:/"), ("a\\b\\,", "a\\b/,"), ("two\nlines", "two lines")]
        {
            assert_eq!(stored(push_value, text), want, "{text:?}");
        }
        assert_eq!(stored(push_key, "time"), "time_");
    }
}
