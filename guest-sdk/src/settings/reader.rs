//! Words, strings and numbers of JSON, and where in it they stand.

use serde::de::{self, Expected, Unexpected};

use super::Wrong;

/// Tables and lists within each other; the reader calls itself for each.
const MOST_DEEP: usize = 64;

/// Where in the settings the reader is.
pub(super) enum Inside {
    Key(String),
    Item(usize),
}

/// Reads JSON from its beginning to its end.
pub(super) struct Reader<'j> {
    json: &'j str,
    pub(super) at: usize,
    /// Left as it stood when something was wrong.
    pub(super) path: Vec<Inside>,
}

impl<'j> Reader<'j> {
    pub(super) fn new(json: &'j str) -> Self {
        Self { json, at: 0, path: Vec::new() }
    }

    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for inside in &self.path {
            match inside {
                Inside::Key(key) => {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(key);
                }
                Inside::Item(item) => path.push_str(&format!("[{item}]")),
            }
        }
        path
    }

    pub(super) fn broken(&self) -> Wrong {
        Wrong(format!("the settings are no JSON from byte {} on", self.at))
    }

    /// The next byte that is not blank.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.as_bytes().get(self.at).copied()
    }

    pub(super) fn take(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.peek() != Some(byte) {
            return Err(self.broken());
        }
        self.at += 1;
        Ok(())
    }

    /// A word such as `true`, or a number, as it is written.
    pub(super) fn word(&mut self) -> Result<&str, Wrong> {
        self.peek();
        let rest = self.json.get(self.at..).unwrap_or_default();
        let ends = |byte: u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.');
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.broken());
        }
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default())
    }

    pub(super) fn string(&mut self) -> Result<String, Wrong> {
        self.take(b'"')?;
        let mut text = String::new();
        loop {
            let rest = self.json.get(self.at..).unwrap_or_default();
            let Some(end) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\')) else {
                return Err(self.broken());
            };
            text.push_str(rest.get(..end).unwrap_or_default());
            self.at += end + 1;
            if rest.as_bytes().get(end) == Some(&b'"') {
                return Ok(text);
            }
            text.push(self.escaped()?);
        }
    }

    /// The character behind a backslash.
    pub(super) fn escaped(&mut self) -> Result<char, Wrong> {
        let byte = self.json.as_bytes().get(self.at).copied();
        self.at += 1;
        Ok(match byte {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'u') => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.json.get(self.at..).is_some_and(|it| it.starts_with("\\u"))
                {
                    self.at += 2;
                    code = 0x1_0000 + ((code - 0xd800) << 10 | self.hex()?.wrapping_sub(0xdc00) & 0x3ff);
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.broken()),
        })
    }

    pub(super) fn hex(&mut self) -> Result<u32, Wrong> {
        let digits = self.json.get(self.at..self.at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        digits.ok_or_else(|| self.broken())
    }

    /// The refusal of what stands here.
    pub(super) fn wrong_type(&mut self, expected: &dyn Expected) -> Wrong {
        use de::Error as _;
        let string;
        let got = match self.peek() {
            Some(b'{') => Unexpected::Map,
            Some(b'[') => Unexpected::Seq,
            Some(b'"') => match self.string() {
                Ok(text) => {
                    string = text;
                    Unexpected::Str(&string)
                }
                Err(broken) => return broken,
            },
            _ => match self.word() {
                Ok("true") => Unexpected::Bool(true),
                Ok("false") => Unexpected::Bool(false),
                Ok("null") => Unexpected::Unit,
                Ok(number) => number.parse().map_or(Unexpected::Other("a number with a fraction"), Unexpected::Signed),
                Err(broken) => return broken,
            },
        };
        Wrong::invalid_type(got, expected)
    }

    pub(super) fn is_number(&mut self) -> bool {
        self.peek().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit())
    }

    /// Reads what a table or list holds, and the bracket that ends it.
    pub(super) fn within<T>(&mut self, end: u8, read: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.path.len() >= MOST_DEEP {
            return Err(Wrong(format!("more than {MOST_DEEP} tables within each other")));
        }
        self.at += 1;
        let read = read(self)?;
        self.take(end)?;
        Ok(read)
    }
}

/// A number as JSON writes it, to within the last place of a float; exact up to 15 digits and
/// 22 places. The library's own reading is exact always, and takes 15 KB in every rule.
pub(super) fn float(word: &str) -> Option<f64> {
    let (number, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (digits, negative) = number.strip_prefix('-').map_or((number, false), |digits| (digits, true));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let mut places = exponent.parse::<i32>().ok()?.clamp(-400, 400);
    let mut mantissa = 0_u64;
    if whole.is_empty() || part.is_empty() {
        return None;
    }
    for (byte, behind_point) in whole.bytes().map(|byte| (byte, false)).chain(part.bytes().map(|byte| (byte, true))) {
        if !byte.is_ascii_digit() {
            return None;
        }
        // More digits than a float can tell apart count as places only.
        let taken = mantissa < u64::MAX / 100;
        if taken {
            mantissa = 10 * mantissa + u64::from(byte - b'0');
        }
        places = places.saturating_add(i32::from(!taken)).saturating_sub(i32::from(behind_point));
    }
    let mut value = mantissa as f64;
    // Without the zeros at the end of 1.50, which only cost exactness.
    while mantissa.is_multiple_of(10) && mantissa != 0 && places < 0 {
        (mantissa, places) = (mantissa / 10, places + 1);
        value = mantissa as f64;
    }
    while places != 0 && value != 0.0 && value.is_finite() {
        let step = places.clamp(-22, 22);
        let power = (0..step.abs()).fold(1.0, |power, _| power * 10.0);
        value = if step > 0 { value * power } else { value / power };
        places -= step;
    }
    value.is_finite().then_some(if negative { -value } else { value })
}
