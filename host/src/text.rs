//! Texts from outside on their way to an operator: what rules, kubelets and a sink's server say ends
//! up in log lines, pages and a terminal.
//!
//! Not here: the formats of the sinks, which each have an escape of their own.

/// What one message from outside may take in a log line or on a page, bytes.
pub(crate) const MESSAGE_BYTES: usize = 1000;

/// `text` fit for a log line, a page or a terminal: bounded, and without control characters.
///
/// A line break would let its writer forge log lines, an escape sequence what the terminal shows.
pub(crate) fn tame(text: &str, max_bytes: usize) -> String {
    let mut cut = max_bytes.min(text.len());
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut out = String::with_capacity(cut + 3);
    for c in text[..cut].chars() {
        if c.is_control() || turns(c) {
            // Those that turn are escaped by it too: they are no printable ASCII.
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if cut < text.len() {
        out.push('…');
    }
    out
}

/// Whether a character breaks a line or turns the direction of what follows, though it is no control.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::tame;

    #[test]
    fn a_text_from_outside_is_bounded_and_stays_on_one_line() {
        for (name, text, max, want) in [
            ("short text stays", "a b", 10, "a b"),
            ("line breaks are escaped", "a\nb\u{1b}", 10, "a\\nb\\u{1b}"),
            ("so are the controls of eight bits", "\u{9b}2J", 10, "\\u{9b}2J"),
            ("and what turns the text around", "a\u{202e}b\u{2028}", 20, "a\\u{202e}b\\u{2028}"),
            ("a long one is cut between characters", "ééé", 3, "é…"),
            ("nothing fits in nothing", "é", 0, "…"),
        ] {
            assert_eq!(tame(text, max), want, "{name}");
        }
    }
}
