//! Patterns for names: `*` stands for any characters, `?` for one; everything else for itself.

/// Whether `text` as a whole fits `pattern`, in time that grows with the product of their lengths.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when what comes after the last `*` does not fit: it stands for one more then.
    let mut again = None;
    loop {
        let (rest, left) = (pattern.clone(), text.clone());
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                again = Some((pattern.clone(), left.clone()));
                text = left;
            }
            (None, None) => return true,
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(got)) if wanted == got => {}
            _ => {
                drop(rest);
                let Some((after, from)) = &mut again else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_pattern_fits_the_whole_text() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("shop/*", "shop/web-1/app", true),
            ("shop/*", "shop", false),
            ("*/app", "shop/web-1/app", true),
            ("*/app", "shop/web-1/apps", false),
            ("cpu/?sage*", "cpu/usage_rate", true),
            ("?", "é", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("**x", "xx", true),
            ("web", "web-1", false),
        ] {
            assert_eq!(fits(pattern, text), want, "{pattern} {text}");
        }
        assert!(!fits(&"*a".repeat(100), &"b".repeat(1000)), "and it ends");
    }
}
