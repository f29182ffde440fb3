//! JSON as Go's `encoding/json` writes it, byte for byte: Heapster's messages came from there.

use std::io::Write as _;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A text in quotes. `<`, `>`, `&` and the two line separators are escaped too.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
        let length = if byte == 0xE2 && matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xA8 | 0xA9])) { 3 } else { 1 };
        if length == 1 && byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&') {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + length;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xE2 => out.extend_from_slice(if bytes[at + 2] == 0xA8 { b"\\u2028" } else { b"\\u2029" }),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// A number with the fewest digits that mean it; whether it is one, which infinities are not.
pub fn push_float(out: &mut Vec<u8>, value: f64) -> bool {
    if !value.is_finite() {
        return false;
    }
    let size = value.abs();
    // Writing to memory does not fail.
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        let _ = write!(out, "{value}");
    } else {
        let start = out.len();
        let _ = write!(out, "{value:e}");
        if size >= 1.0
            && let Some(at) = out[start..].iter().position(|&byte| byte == b'e')
        {
            out.insert(start + at + 1, b'+');
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_go_does() {
        for (text, want) in [
            ("", r#""""#),
            ("app:web,tier:a b", r#""app:web,tier:a b""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("<a href=\"?x&y\">", r#""\u003ca href=\"?x\u0026y\"\u003e""#),
            ("\n\r\t\0\u{8}\u{1f}\u{7f}", "\"\\n\\r\\t\\u0000\\u0008\\u001f\u{7f}\""),
            ("é\u{2028}\u{2029}€", "\"é\\u2028\\u2029€\""),
        ] {
            let mut out = Vec::new();
            push_text(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), want);
            assert_eq!(serde_json::from_str::<String>(want).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (0.300_000_000_000_000_04, "0.30000000000000004"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (9.9e-7, "9.9e-7"),
            (-5e-324, "-5e-324"),
        ] {
            let mut out = Vec::new();
            assert!(push_float(&mut out, value));
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!push_float(&mut Vec::new(), value));
        }
    }
}
