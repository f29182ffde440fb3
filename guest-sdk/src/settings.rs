//! Reads a rule's settings, a JSON object, and says which key is wrong.
//!
//! A JSON reader of our own, for two reasons. Its errors name the path of the key
//! (`steps[2].regex`), where others name a column of text that the author of the settings never
//! saw, because the host made it from TOML. And it makes a rule smaller by some 40 KB: it has no
//! floats in it unless the settings have.

use std::fmt::{self, Display};

use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};

/// Tables and lists within each other; the reader calls itself for each.
const MOST_DEEP: usize = 64;

/// Reads settings.
///
/// # Errors
/// The key's path, and what is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let mut reader = Reader { json, at: 0, path: Vec::new() };
    let read = T::deserialize(&mut reader).and_then(|settings| match reader.peek() {
        None => Ok(settings),
        Some(_) => Err(reader.broken()),
    });
    read.map_err(|Wrong(reason)| match reader.path() {
        path if path.is_empty() => reason,
        path => format!("`{path}`: {reason}"),
    })
}

/// What is wrong.
#[derive(Debug)]
struct Wrong(String);

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(reason: T) -> Self {
        Self(reason.to_string())
    }

    // serde's own would bring the formatting of floats into every rule: 20 KB.
    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid type: {}, expected {expected}", Got(got)))
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("invalid value: {}, expected {expected}", Got(got)))
    }
}

struct Got<'g>(Unexpected<'g>);

impl Display for Got<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "boolean `{value}`"),
            Unexpected::Unsigned(value) => write!(f, "integer `{value}`"),
            Unexpected::Signed(value) => write!(f, "integer `{value}`"),
            Unexpected::Float(_) => f.write_str("a number with a fraction"),
            Unexpected::Str(value) => write!(f, "string \"{value}\""),
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a table"),
            Unexpected::Other(other) => f.write_str(other),
            _ => f.write_str("something else"),
        }
    }
}

/// Where in the settings the reader is.
enum Inside {
    Key(String),
    Item(usize),
}

struct Reader<'j> {
    json: &'j str,
    at: usize,
    /// Left as it stood when something was wrong.
    path: Vec<Inside>,
}

impl Reader<'_> {
    fn path(&self) -> String {
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

    fn broken(&self) -> Wrong {
        Wrong(format!("the settings are no JSON from byte {} on", self.at))
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.peek() != Some(byte) {
            return Err(self.broken());
        }
        self.at += 1;
        Ok(())
    }

    /// A word such as `true`, or a number, as it is written.
    fn word(&mut self) -> Result<&str, Wrong> {
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

    fn string(&mut self) -> Result<String, Wrong> {
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
    fn escaped(&mut self) -> Result<char, Wrong> {
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

    fn hex(&mut self) -> Result<u32, Wrong> {
        let digits = self.json.get(self.at..self.at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        digits.ok_or_else(|| self.broken())
    }

    /// The refusal of what stands here.
    fn wrong_type(&mut self, expected: &dyn Expected) -> Wrong {
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

    fn is_number(&mut self) -> bool {
        self.peek().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit())
    }

    /// Reads what a table or list holds, and the bracket that ends it.
    fn within<T>(&mut self, end: u8, read: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.path.len() >= MOST_DEEP {
            return Err(Wrong(format!("more than {MOST_DEEP} tables within each other")));
        }
        self.at += 1;
        let read = read(self)?;
        self.take(end)?;
        Ok(read)
    }
}

macro_rules! integers {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let start = self.at;
            if self.is_number() {
                let number = self.word()?;
                if let Ok(value) = number.parse() {
                    return visitor.visit_i64(value);
                }
                if let Ok(value) = number.parse() {
                    return visitor.visit_u64(value);
                }
                self.at = start;
            }
            Err(self.wrong_type(&visitor))
        })+
    };
}

macro_rules! strings {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.peek() {
                Some(b'"') => visitor.visit_string(self.string()?),
                _ => Err(self.wrong_type(&visitor)),
            }
        })+
    };
}

macro_rules! floats {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            if !self.is_number() {
                return Err(self.wrong_type(&visitor));
            }
            match float(self.word()?) {
                Some(value) => visitor.visit_f64(value),
                None => Err(self.broken()),
            }
        })+
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'"') => self.deserialize_string(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => self.deserialize_unit(visitor),
            _ => {
                let start = self.at;
                let whole = self.word()?.parse::<i64>().is_ok();
                self.at = start;
                if whole { self.deserialize_i64(visitor) } else { self.deserialize_f64(visitor) }
            }
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    floats! { deserialize_f32 deserialize_f64 }
    strings! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let start = self.at;
        if matches!(self.peek(), Some(b't' | b'f')) {
            match self.word()? {
                "true" => return visitor.visit_bool(true),
                "false" => return visitor.visit_bool(false),
                _ => self.at = start,
            }
        }
        Err(self.wrong_type(&visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.peek() == Some(b'n') { self.deserialize_unit(visitor) } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let start = self.at;
        if self.peek() == Some(b'n') && self.word()? == "null" {
            return visitor.visit_unit();
        }
        self.at = start;
        Err(self.wrong_type(&visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'[') => self.within(b']', |reader| visitor.visit_seq(Items { reader, next: 0 })),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'{') => self.within(b'}', |reader| visitor.visit_map(Items { reader, next: 0 })),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    /// A variant is its name, or a table of one key whose value is what the variant holds.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'"') => visitor.visit_enum(self.string()?.into_deserializer()),
            Some(b'{') => self.within(b'}', |reader| visitor.visit_enum(Variant(reader))),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'"') => self.deserialize_string(visitor),
            _ => self.word().map(drop).and_then(|()| visitor.visit_unit()),
        }
    }
}

/// What a table or list holds.
struct Items<'r, 'j> {
    reader: &'r mut Reader<'j>,
    next: usize,
}

impl Items<'_, '_> {
    /// Whether another one follows, and goes over the comma before it.
    fn another(&mut self, end: u8) -> Result<bool, Wrong> {
        if self.reader.peek() == Some(end) {
            return Ok(false);
        }
        if self.next > 0 {
            self.reader.take(b',')?;
        }
        self.next += 1;
        Ok(true)
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        if !self.another(b']')? {
            return Ok(None);
        }
        self.reader.path.push(Inside::Item(self.next - 1));
        let item = seed.deserialize(&mut *self.reader)?;
        self.reader.path.pop();
        Ok(Some(item))
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        if !self.another(b'}')? {
            return Ok(None);
        }
        let key = self.reader.string()?;
        self.reader.take(b':')?;
        let known = seed.deserialize(key.as_str().into_deserializer())?;
        self.reader.path.push(Inside::Key(key));
        Ok(Some(known))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.path.pop();
        Ok(value)
    }
}

/// A variant that holds something.
struct Variant<'r, 'j>(&'r mut Reader<'j>);

impl<'de> de::EnumAccess<'de> for Variant<'_, '_> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        let name = self.0.string()?;
        self.0.take(b':')?;
        Ok((seed.deserialize(name.as_str().into_deserializer())?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        de::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_seq(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_map(self.0, visitor)
    }
}

/// A number as JSON writes it, to within the last place of a float; exact up to 15 digits and
/// 22 places. The library's own reading is exact always, and takes 15 KB in every rule.
fn float(word: &str) -> Option<f64> {
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

#[cfg(test)]
mod tests;
